package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/rate"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/feedback"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// fixture is a mailing of one rendered batch, and a worker's activities with a drop point mx.
type fixture struct {
	*testing.T
	pool   *pgxpool.Pool
	server *smtptest.Server
	a      *Activities
	stop   chan struct{} // closed when the worker stops
}

const crowdSize = 40

func newFixture(t *testing.T, script func(smtptest.Event) *smtptest.Action) *fixture {
	t.Helper()
	pool, _ := prepared(t, crowdSize, workflows.Content{Text: "Hello {{.n}}"})
	d := &fixture{
		T:      t,
		pool:   pool,
		server: smtptest.Start(t, smtptest.Options{Script: script}),
		stop:   make(chan struct{}),
	}
	d.a = d.worker()
	if _, err := renderOnce(t, d.a); err != nil {
		t.Fatal(err)
	}
	return d
}

// worker is another worker of the mailing, with the drop point mx and others.
func (d *fixture) worker(others ...droppoint.Config) *Activities {
	d.Helper()
	set := droppoint.NewSet(append(others, d.dropPoint("mx", d.server, 2)))
	d.Cleanup(set.Close)
	return New(d.pool, set, nil, loopback(d.T), 8, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// dropPoint is a drop point of a server.
func (d *fixture) dropPoint(name string, server *smtptest.Server, connections int) droppoint.Config {
	d.Helper()
	url := fmt.Sprintf("smtp://%s?tls=none&connections=%d", server.Addr(), connections)
	config, err := droppoint.Parse(name, url)
	if err != nil {
		d.Fatal(err)
	}
	return config
}

// send does one attempt at the batch, through mx or another drop point.
func (d *fixture) send(a *Activities, on workflows.OnUncertain, others ...string) (workflows.SentBatch, error) {
	d.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerStopChannel(d.stop)
	env.RegisterActivityWithOptions(a.SendBatch, activity.RegisterOptions{Name: policy.SendBatch})
	var out workflows.SentBatch
	v, err := env.ExecuteActivity(policy.SendBatch, sendCall(on, append(others, "mx")...))
	if err != nil {
		return out, err
	}
	return out, v.Get(&out)
}

// sendCall is the call for the batch of a fixture, with the drop points.
func sendCall(on workflows.OnUncertain, dropPoints ...string) workflows.SendCall {
	call := workflows.SendCall{
		Mailing: "spring", Batch: 1, OnUncertain: on, Retry: retries,
		Deferral: workflows.Deferral{
			First: workflows.Duration(time.Minute),
			Most:  workflows.Duration(time.Hour),
			For:   workflows.Duration(48 * time.Hour),
		},
	}
	for _, name := range dropPoints {
		call.DropPoints = append(call.DropPoints, workflows.UsableDropPoint{Name: name})
	}
	return call
}

// isOfType tells whether an activity's error has the type.
func isOfType(err error, kind policy.ErrorType) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Type() == kind
}

// wantOneCopyEach checks the server's own record.
func (d *fixture) wantOneCopyEach() {
	d.Helper()
	copies := d.server.Copies()
	for n := 1; n <= crowdSize; n++ {
		if got := copies[fmt.Sprintf("r%d@example.org", n)]; got != 1 {
			d.Errorf("recipient %d has got %d copies", n, got)
		}
	}
}

func TestABatchThatWasClosedBeforeItsAnswerWasLostIsAnsweredAgain(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	for range 2 {
		out, err := d.send(d.a, workflows.Resend)
		if err != nil || !out.Closed || out.Counts != (workflows.Counts{Sent: crowdSize}) {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	d.wantOneCopyEach()
}

// The worker stops in the middle of a batch: it does not wait for the turn, which is long, and
// another one goes on.
func TestAWorkerThatStopsInTheMiddleOfABatchHandsItBack(t *testing.T) {
	t.Parallel()
	var dots atomic.Int32
	goOn := make(chan struct{})
	var d *fixture
	d = newFixture(t, func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		switch n := dots.Add(1); {
		case n == 5:
			select {
			case d.stop <- struct{}{}: // the batch has the news
			case <-time.After(time.Minute):
			}
			close(d.stop)
			close(goOn)
		case n > 5:
			return &smtptest.Action{Wait: goOn}
		}
		return nil
	})
	if _, err := d.send(d.a, workflows.Hold); !isOfType(err, policy.WorkerStopping) {
		t.Errorf("got %v, want %s", err, policy.WorkerStopping)
	}
	if got := len(d.server.Received()); got >= crowdSize {
		t.Errorf("%d messages went out before the worker stopped", got)
	}
	d.stop = make(chan struct{})
	if out, err := d.send(d.worker(), workflows.Hold); err != nil || !out.Closed ||
		out.Counts != (workflows.Counts{Sent: crowdSize}) {
		t.Errorf("the next worker: %+v, %v", out, err)
	}
	d.wantOneCopyEach()
}

// The server has accepted a message, and the database was away when the worker wrote that down. The
// claim would take the recipient for uncertain.
func TestAnAnswerThatIsKeptIsWrittenBeforeTheWorkerClaimsABatch(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	m, err := d.a.mailing(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	claim, err := d.a.claim(temporalclient.WatchHeartbeats(t.Context()), ledger.Batch{Mailing: m.Key, Number: 1},
		workflows.Resend)
	if err != nil {
		t.Fatal(err)
	}
	attempt := ledger.Attempt{Recipient: 1, Number: 1, DropPoint: "mx"}
	if err := d.a.gate.Enter(claim, nil, &attempt).Wait(); err != nil {
		t.Fatal(err)
	}
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM deliveries FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	d.a.gate.Keep(claim, &ledger.Result{Recipient: 1, Attempt: 1, Status: ledger.Sent, Final: true, Code: 250})
	for waiting := 0; waiting == 0; { // until the gate tries to write it
		question := `SELECT count(*) FROM pg_stat_activity WHERE ` + servertest.WaitsForAnother
		if err := d.pool.QueryRow(t.Context(), question).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.a.gate.Close(t.Context()); n != 1 { // after that, the gate does not try again by itself
		t.Fatalf("%d answers are kept", n)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := d.send(d.a, workflows.Resend)
	if err != nil || !out.Closed || out.Counts != (workflows.Counts{Sent: crowdSize}) {
		t.Errorf("got %+v, %v", out, err)
	}
	if n := len(d.server.Received()); n != crowdSize-1 {
		t.Errorf("%d messages were sent, want those of the %d others", n, crowdSize-1)
	}
}

// The server takes the message of recipient 5 and does not answer, in the attempt of a worker or
// before another claims the batch.
func TestWithHoldNobodyIsSentToTwiceByAnyWorker(t *testing.T) {
	t.Parallel()
	for _, on := range []workflows.OnUncertain{workflows.Hold, workflows.Resend} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			var silent atomic.Bool
			silent.Store(true)
			d := newFixture(t, func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "DOT" && e.To == "r5@example.org" && silent.CompareAndSwap(true, false) {
					return &smtptest.Action{Die: true, Accept: true}
				}
				return nil
			})
			claim, err := d.a.ledger.Claim(t.Context(), ledger.Batch{Mailing: 1, Number: 1}, 0, false)
			if err != nil {
				t.Fatal(err)
			}
			intent := &ledger.Attempt{Recipient: 7, Number: 1, DropPoint: "mx"}
			if err := d.a.gate.Enter(claim, nil, intent).Wait(); err != nil {
				t.Fatal(err)
			} // and the worker dies here
			out, err := d.send(d.worker(), on)
			want := workflows.Counts{Sent: crowdSize, PossiblyTwice: 2}
			copies := map[string]int{"r5@example.org": 2, "r7@example.org": 1}
			if on == workflows.Hold {
				want = workflows.Counts{Sent: crowdSize - 2, Uncertain: 2}
				copies = map[string]int{"r5@example.org": 1, "r7@example.org": 0}
			}
			if err != nil || !out.Closed || out.Counts != want {
				t.Errorf("%+v, %v", out, err)
			}
			for to, n := range copies {
				if got := d.server.Copies()[to]; got != n {
					t.Errorf("%s has got %d copies, want %d", to, got, n)
				}
			}
		})
	}
}

// Messages are rendered anew after the spool was lost: whoever gets one twice can tell by its
// Message-ID.
func TestMessageIDsAreTheSameHoweverOftenABatchIsRendered(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	if _, err := d.pool.Exec(t.Context(), `UPDATE mailings SET prepared_at = '2020-02-03 04:05:06Z'`); err != nil {
		t.Fatal(err)
	}
	render := func() map[int32]string {
		t.Helper()
		if _, err := d.pool.Exec(t.Context(), `DELETE FROM spool`); err != nil {
			t.Fatal(err)
		}
		if _, err := renderOnce(t, d.worker()); err != nil {
			t.Fatal(err)
		}
		return messages(t, spooled(t, d.pool))
	}
	first := render()
	again := render()
	if !strings.Contains(first[1], "Date: Mon, 03 Feb 2020 04:05:06") {
		t.Errorf("the date is not that of the preparation: %q", first[1])
	}
	ids := map[string]bool{}
	for n := int32(1); n <= crowdSize; n++ {
		_, rest, found := strings.Cut(first[n], "Message-ID: ")
		id, _, _ := strings.Cut(rest, "\r\n")
		if ids[id] = true; !found || first[n] != again[n] {
			t.Errorf("recipient %d: %q, then %q", n, first[n], again[n])
		}
	}
	if len(ids) != crowdSize {
		t.Errorf("%d recipients have %d Message-IDs", crowdSize, len(ids))
	}
}

func TestARenderedBatchIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	before := spooled(t, d.pool)
	if _, err := d.pool.Exec(t.Context(), `UPDATE recipients SET attributes = '{"n": "changed"}'`); err != nil {
		t.Fatal(err)
	}
	out, err := renderOnce(t, d.worker())
	if err != nil || out.Messages != 0 || !bytes.Equal(spooled(t, d.pool), before) {
		t.Errorf("rendered again: %+v, %v", out, err)
	}
}

func TestARecipientWhoseTemplateFailsIsFailed(t *testing.T) {
	t.Parallel()
	pool, a := prepared(t, 5, workflows.Content{Text: `Hello {{if eq .n "3"}}{{.nothing}}{{end}}`})
	if out, err := renderOnce(t, a); err != nil || out.Messages != 4 || out.Failed != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	var failed string
	const query = `SELECT string_agg(recipient || ' ' || status || ' ' || final, ', ') FROM deliveries`
	if err := pool.QueryRow(t.Context(), query).Scan(&failed); err != nil || failed != "3 failed true" {
		t.Errorf("the ledger has %q, %v", failed, err)
	}
}

func TestADropPointThatRefusesUsIsTypedAndNamed(t *testing.T) {
	t.Parallel()
	d := newFixture(t, func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" {
			return &smtptest.Action{Reply: "550 5.7.1 not from you"}
		}
		return nil
	})
	_, err := d.send(d.a, workflows.Resend)
	var app *temporal.ApplicationError
	var out workflows.SentBatch
	if !errors.As(err, &app) || app.Type() != policy.DropPointRefuses || app.Details(&out) != nil {
		t.Fatalf("got %v", err)
	}
	if len(out.Points) != 1 || out.Points[0].Name != "mx" || !strings.Contains(out.Points[0].Failure, "550 5.7.1") ||
		out.Refused == 0 {
		t.Errorf("the workflow is told %+v", out)
	}
	var blamed int
	if err := d.pool.QueryRow(t.Context(), `SELECT count(*) FROM deliveries WHERE final`).Scan(&blamed); err != nil ||
		blamed != 0 {
		t.Errorf("%d recipients are blamed, %v", blamed, err)
	}
}

// The server gives all its connections to others. That is no failure of the drop point: the batch
// goes to another worker. Only a server that gives none for longer has failed.
func TestAWorkerThatGetsNoConnectionHandsItsBatchOver(t *testing.T) {
	t.Parallel()
	d := newFixture(t, func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" {
			return &smtptest.Action{Reply: "421 4.3.2 too many connections"}
		}
		return nil
	})
	_, err := d.send(d.a, workflows.Resend)
	if !isOfType(err, policy.WorkerBusy) || !strings.Contains(err.Error(), "421") {
		t.Errorf("got %v", err)
	}
	lacking := sender.DropPointReport{Name: "mx", Failure: &sender.UnavailableError{Cause: err}}
	if reports := pointReports(sender.Report{DropPoints: []sender.DropPointReport{lacking}}); reports[0].Failure == "" {
		t.Errorf("a failure for another reason is lost: %+v", reports)
	}
}

// What mx refuses for its size may go through the other drop point, which this worker does not
// have.
func TestAWorkerThatLacksADropPointBouncesNobodyWhomItMayTake(t *testing.T) {
	t.Parallel()
	d := newFixture(t, func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && e.To == "r30@example.org" {
			return &smtptest.Action{Reply: "552 5.3.4 message too big"}
		}
		return nil
	})
	out, err := d.send(d.a, workflows.Resend, "large")
	if err != nil || out.Deferred != 1 || out.Counts != (workflows.Counts{Sent: crowdSize - 1}) {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestABatchWithARecipientWithoutAMessageIsNotClosed(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	blob, err := pack([]int32{1, 2, 3}, [][]byte{spooled(t, d.pool)})
	if err != nil || blob == nil {
		t.Fatal(err)
	}
	if _, err := d.pool.Exec(t.Context(), `UPDATE spool SET messages = $1`, blob); err != nil {
		t.Fatal(err)
	}
	if out, err := d.send(d.a, workflows.Resend); err == nil {
		t.Errorf("the batch was answered: %+v", out)
	}
	if _, err := renderOnce(t, d.a); err != nil { // the workflow has it rendered again
		t.Fatal(err)
	}
	if out, err := d.send(d.worker(), workflows.Resend); err != nil || out.Counts.Sent != crowdSize {
		t.Errorf("rendered again: %+v, %v", out, err)
	}
	d.wantOneCopyEach()
}

func TestABlobIsMadeOfTheRecipientsThatAreWantedAndOfNobodyTwice(t *testing.T) {
	t.Parallel()
	blob := func(recipients ...int32) []byte {
		e, err := spool.NewEncoder()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recipients {
			entry := &spool.Entry{Recipient: r, From: "a@example.com", To: "b@example.com", Data: []byte("x")}
			if err := e.Add(entry); err != nil {
				t.Fatal(err)
			}
		}
		b, err := e.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	got, err := pack([]int32{2, 3, 5}, [][]byte{blob(1, 2, 3), blob(3, 4, 5)})
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int32
	r, err := spool.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Reset(got); err != nil {
		t.Fatal(err)
	}
	for {
		var e spool.Entry
		if err := r.Next(&e); err != nil {
			break
		}
		numbers = append(numbers, e.Recipient)
	}
	if fmt.Sprint(numbers) != "[2 3 5]" {
		t.Errorf("the blob has %v", numbers)
	}
	if got, err := pack([]int32{2, 9}, [][]byte{blob(1, 2, 3)}); err != nil || got != nil {
		t.Errorf("recipient 9 has no message: got %d octets, %v", len(got), err)
	}
}

func TestDeferredRecipientsAreTriedAsTheMailingSays(t *testing.T) {
	t.Parallel()
	call := workflows.SendCall{Deferral: workflows.Deferral{First: 1, Most: 2, For: 3}}
	call.Retry.DropPoint.Interval = 4
	s := schedule(call, []int32{5})
	if s.First != 1 || s.Most != 2 || s.For != 3 || s.SoonPause != 4 || len(s.Soon) != 1 || s.RetryAfter == nil {
		t.Errorf("%+v", s)
	}
	if told, ok := s.RetryAfter("greylisted, try again in 5 minutes"); !ok || told != 5*time.Minute {
		t.Errorf("a server's words are read as %s, %v", told, ok)
	}
}

// Each kind of limit is set to one message a day, and asked for twice.
func TestATurnIsAskedForUnderTheLimitsOfMailingDropPointAndDomain(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	for name, scope := range map[string]ratelimit.Scope{
		"mailing":    ratelimit.OfMailing(1),
		"drop point": ratelimit.OfDropPoint("mx"),
		"domain":     ratelimit.OfDomain("example.org"),
	} {
		a := d.worker()
		if err := a.pacer.Set(t.Context(), scope, rate.Rate{Count: 1, Per: 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		allow := a.allow(1)
		refused := false
		for range 3 {
			wait, err := allow(t.Context(), "mx", "example.org")
			if err != nil {
				t.Fatal(err)
			}
			if wait.AskAgain > 0 {
				refused = true
				if wait.Domain != (name == "domain") {
					t.Errorf("the limit of the %s is waited for as %+v", name, wait)
				}
			}
		}
		if !refused {
			t.Errorf("the limit of the %s was not asked for", name)
		}
		if wait, err := a.allow(2)(t.Context(), "other", "example.net"); err != nil || wait.AskAgain > 0 {
			t.Errorf("the limit of the %s holds another mailing, drop point and domain up: %+v, %v", name, wait, err)
		}
		if err := a.pacer.Drop(t.Context(), scope); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheRatesOfAnInputHoldForItsMailingOnlyAndRemoveNoLimitOfTheOperator(t *testing.T) {
	t.Parallel()
	a := newFixture(t, nil).worker()
	day := rate.Rate{Count: 1, Per: 24 * time.Hour}
	if err := a.pacer.Set(t.Context(), ratelimit.OfDomain("gmail.example"), day); err != nil {
		t.Fatal(err)
	}
	in := workflows.Rates{
		DropPoints: map[string]workflows.Rate{"mx": "1/d"},
		Domains:    map[string]workflows.Rate{"gmail.example": "none", "example.org": "1/d"},
	}
	if err := a.setRates(t.Context(), 7, in); err != nil {
		t.Fatal(err)
	}
	mayGo := func(mailing int64, dropPoint, domain string) bool {
		t.Helper()
		wait, err := a.allow(mailing)(t.Context(), dropPoint, domain)
		if err != nil {
			t.Fatal(err)
		}
		return wait == (sender.Wait{})
	}
	if !mayGo(7, "other", "gmail.example") {
		t.Fatal("the first message of the day to the domain has to wait")
	}
	if mayGo(7, "other", "gmail.example") || mayGo(8, "other", "gmail.example") {
		t.Error("an input has removed the operator's limit")
	}
	for _, to := range [][2]string{{"mx", "example.net"}, {"other", "example.org"}} {
		if !mayGo(7, to[0], to[1]) || mayGo(7, to[0], to[1]) {
			t.Errorf("the mailing does not keep its limit of %v", to)
		}
		for range 3 {
			if !mayGo(8, to[0], to[1]) {
				t.Errorf("another mailing waits for the limit of %v", to)
			}
		}
	}
	if err := a.pacer.DropMailing(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if !mayGo(7, "mx", "example.org") || mayGo(8, "other", "gmail.example") {
		t.Error("the end of the mailing does not end its limits, or ends others")
	}
}

// The second start of an ID is refused by the database, also when Temporal has forgotten the first.
func TestASecondStartOfAnIDIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	if _, err := d.a.reserved(t.Context(), "spring", "another run"); !errors.As(err, new(*failure)) ||
		classify(err).kind != policy.MailingExists {
		t.Errorf("got %v, want %s", err, policy.MailingExists)
	}
	if opened, err := d.a.reserved(t.Context(), "spring", "run"); err != nil || opened == nil {
		t.Errorf("its own start: %v, %v", opened, err)
	}
	in, err := json.Marshal(workflows.Input{})
	if err != nil {
		t.Fatal(err)
	}
	err = d.a.mailings.Reserve(t.Context(), "spring", "another run", "people", in, feedback.Marks{}, "default")
	if !errors.Is(err, mailings.ErrExists) {
		t.Errorf("got %v", err)
	}
}

// A second start that is cancelled closes its ledger, as every mailing does: it has none, and must
// not close the first one's.
func TestAMailingThatEndsClosesItsOwnLedgerOnly(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	end := func(run string) {
		t.Helper()
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.SetTestTimeout(time.Minute)
		env.RegisterActivityWithOptions(d.a.CloseMailing, activity.RegisterOptions{Name: policy.CloseMailing})
		call := workflows.CloseCall{
			Mailing:    "spring",
			FirstRunID: run,
			State:      workflows.StateCancelled,
			Reason:     "cancelled",
			Retry:      retries.Database,
		}
		if _, err := env.ExecuteActivity(policy.CloseMailing, call); err != nil {
			t.Fatal(err)
		}
	}
	end("another run")
	if out, err := d.send(d.a, workflows.Resend); err != nil || !out.Closed || out.Counts.Sent != crowdSize {
		t.Errorf("after another start was cancelled: %+v, %v", out, err)
	}
	end("run")
	m, err := d.a.mailings.Get(t.Context(), "spring")
	if err != nil || m.ClosedAt == nil || m.State != string(workflows.StateCancelled) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestACompletedMailingWithOpenBatchesIsNotEnded(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivityWithOptions(d.a.CloseMailing, activity.RegisterOptions{Name: policy.CloseMailing})
	v, err := env.ExecuteActivity(policy.CloseMailing, workflows.CloseCall{
		Mailing: "spring", FirstRunID: "run", State: workflows.StateCompleted, Retry: retries.Database,
	})
	if err != nil {
		t.Fatal(err)
	}
	var out workflows.Closing
	if err := v.Get(&out); err != nil || fmt.Sprint(out.Open) != "[1]" {
		t.Errorf("%+v, %v", out, err)
	}
	if m, err := d.a.mailings.Get(t.Context(), "spring"); err != nil || m.ClosedAt != nil {
		t.Errorf("%+v, %v", m, err)
	}
}

// An attempt begins with what earlier ones have counted, and says so again with each beat: whatever
// ends it, the next one knows.
func TestWhatFailedBeforeIsKnownAfterACrash(t *testing.T) {
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	before := attemptCounts{Database: 3, Page: 2, List: 4}
	env.SetHeartbeatDetails(before)
	var mu sync.Mutex
	var beats []attemptCounts
	second := make(chan struct{})
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
		var t attemptCounts
		_ = details.Get(&t)
		mu.Lock()
		defer mu.Unlock()
		if beats = append(beats, t); len(beats) == 2 {
			close(second)
		}
	})
	works := func(ctx context.Context) error {
		_, err := attempt(ctx, retries, func(context.Context) (string, error) {
			<-second // a second's work
			return "", failf(policy.DatabaseUnavailable, "away")
		})
		return err
	}
	env.RegisterActivityWithOptions(works, activity.RegisterOptions{Name: "works"})
	_, err := env.ExecuteActivity("works")
	if !isOfType(err, policy.DatabaseUnavailable) || !strings.Contains(err.Error(), "(attempt 4 of 4)") {
		t.Errorf("got %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i, b := range beats[:2] {
		if b != before {
			t.Errorf("beat %d says %+v, earlier attempts have counted %+v", i+1, b, before)
		}
	}
	if last := beats[len(beats)-1]; last.Database != 4 {
		t.Errorf("the last beat says %+v", last)
	}
}
