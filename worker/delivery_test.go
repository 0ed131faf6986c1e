package main_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/workflows"
)

// update asks the mailing's workflow for an update and waits for its answer.
func (p *plant) update(name string, args ...any) (answer string, err error) {
	p.Helper()
	h, err := p.temporal.UpdateWorkflow(p.Context(), client.UpdateWorkflowOptions{WorkflowID: p.id(), UpdateName: name, Args: args,
		WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = h.Get(p.Context(), &answer)
	}
	return answer, err
}

// steer is update for one that must succeed.
func (p *plant) steer(name string, args ...any) {
	p.Helper()
	if answer, err := p.update(name, args...); err != nil {
		p.Fatalf("%s: %q, %v", name, answer, err)
	}
}

// doing waits until the mailing's status is as it should be.
func (p *plant) doing(what string, is func(workflows.Status) bool) {
	p.Helper()
	p.eventually(what, func() bool {
		s, err := p.status()
		if err == nil && s.State.Ended() && !is(s) {
			p.Fatalf("the mailing has ended before %s: %+v", what, s)
		}
		return err == nil && is(s)
	})
}

// slowly answers each message after a while.
func slowly(pause time.Duration) func(smtptest.Event) *smtptest.Action {
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		done := make(chan struct{})
		time.AfterFunc(pause, func() { close(done) })
		return &smtptest.Action{Wait: done}
	}
}

// A server goes away for longer than its attempts: it leaves the list, its recipients go to the other, it is looked at, and takes part again
// when it is back. The other one takes a message at each look of the test, so that there is always
// something left to send.
func TestADropPointThatComesBackIsUsedAgain(t *testing.T) {
	t.Parallel()
	const recipients, first = 1500, 50
	var down atomic.Bool
	flakyStall := smtptest.NewStall("DOT", first)
	flaky := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if down.Load() {
			return &smtptest.Action{Die: true}
		}
		return flakyStall.Script(e)
	}})
	steady, steadyStall := held(t, 0)
	p := newPlant(t, fmt.Sprintf("flaky=smtp://%s?connections=1 steady=smtp://%s?connections=1", flaky.Addr(), steady.Addr()))
	p.importList(recipients)
	p.startWorker()
	in := mailing(20)
	in.Retry.DropPoint = workflows.Retry{Attempts: 2, Interval: workflows.Duration(100 * time.Millisecond)}
	run := p.start(in)
	p.eventually("the server has taken some", func() bool {
		steadyStall.Release(1)
		return len(flaky.Received()) == first && flakyStall.Waiting() == 1
	})
	down.Store(true)
	flaky.Drop()
	flakyStall.ReleaseAll()
	p.doing("it has left the list, and is looked at", func(s workflows.Status) bool {
		steadyStall.Release(1)
		return s.State == workflows.StateSending && !s.DropPoints[0].InList && s.DropPoints[0].LastFailure != "" && s.DropPoints[1].InList
	})
	before := len(flaky.Received())
	down.Store(false)
	p.eventually("it is used again", func() bool {
		steadyStall.Release(1)
		return len(flaky.Received()) > before+20
	})
	steadyStall.ReleaseAll()
	r := p.result(run)
	copies := steady.Copies()
	for a, n := range flaky.Copies() {
		copies[a] += n
	}
	if d := p.judge(copies, recipients); d > 2 || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
}

// The slow one has a message on each of its connections, no more: the fast one does all the rest.
func TestASlowDropPointDoesNotHoldAFastOneBack(t *testing.T) {
	t.Parallel()
	const recipients = 1000
	release := make(chan struct{})
	slow := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" {
			return &smtptest.Action{Wait: release}
		}
		return nil
	}})
	fast := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, fmt.Sprintf("slow=smtp://%s?connections=2 fast=smtp://%s?connections=2", slow.Addr(), fast.Addr()))
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(50))
	p.eventually("the fast one has sent everything that the slow one has not in hand", func() bool { return len(fast.Received()) >= recipients-2 })
	close(release)
	r := p.result(run)
	copies := fast.Copies()
	for a, n := range slow.Copies() {
		copies[a] += n
	}
	if d := p.judge(copies, recipients); d > 0 || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
}

// The slow one answers its first messages one after the other, so that its connections go from batch to batch, and then none. Were each with
// another batch by then, all of the worker's would wait for it.
func TestASlowDropPointKeepsOnlyAFewBatchesWaiting(t *testing.T) {
	t.Parallel()
	const recipients, batch, connections, between = 2000, 50, 8, 60
	var (
		mu      sync.Mutex
		had     int // messages that the fast one has had
		asked   int // and the slow one
		known   = make(chan struct{})
		answers [2 * connections]chan struct{}
		release = make(chan struct{})
	)
	for i := range answers {
		answers[i] = make(chan struct{})
	}
	slow := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked == 1 {
			time.AfterFunc(1200*time.Millisecond, func() { close(known); close(answers[0]) }) // which is slow
		}
		if asked > len(answers) {
			return &smtptest.Action{Wait: release}
		}
		return &smtptest.Action{Wait: answers[asked-1]}
	}})
	fast := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if had++; had%between == 0 && had/between < len(answers) {
			close(answers[had/between])
		}
		return &smtptest.Action{Wait: known}
	}})
	p := newPlant(t, fmt.Sprintf("slow=smtp://%s?connections=%d fast=smtp://%s?connections=%d", slow.Addr(), connections, fast.Addr(), connections))
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(batch))
	p.eventually("the fast one has sent everything that the slow one has not got", func() bool { return len(fast.Received()) >= recipients-len(answers)-connections })
	close(release)
	r := p.result(run)
	copies := fast.Copies()
	for a, n := range slow.Copies() {
		copies[a] += n
	}
	if d := p.judge(copies, recipients); d > 0 || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
}

// Greylisting: everybody is refused at first and told when to come again. All get it then, in batches as big as those of the list.
func TestGreylistedRecipientsGetTheirMailInFullBatchesOfALaterRound(t *testing.T) {
	t.Parallel()
	const recipients = 300
	var mu sync.Mutex
	told := map[string]time.Time{} // when each was told to come again: all at about the same time
	var open time.Time
	early := 0
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if open.IsZero() {
			open = now.Add(10 * time.Second)
		}
		at, known := told[e.To]
		if known && now.Before(at) {
			early++
		}
		if !known || now.Before(at) {
			seconds := max(1, int(open.Sub(now)/time.Second))
			told[e.To] = now.Add(time.Duration(seconds) * time.Second)
			return &smtptest.Action{Reply: fmt.Sprintf("450 4.2.0 Greylisted, try again in %d seconds", seconds)}
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	in := mailing(50)
	in.Deferral.First, in.Deferral.Most = workflows.Duration(time.Hour), workflows.Duration(time.Hour) // but the server says some seconds
	in.MaxErrorPercent, in.ErrorMinimum = 1, 1                                                         // which deferral does not touch
	r := p.result(p.start(in))
	if d := p.judge(s.Copies(), recipients); d > 0 || r.Counts.Sent != recipients || early > 0 {
		t.Errorf("%d duplicates, %d tried too early; %+v", d, early, r.Counts)
	}
	var later, full int
	if err := p.pool.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE cardinality(members) = 50) FROM batches WHERE members IS NOT NULL`).Scan(&later, &full); err != nil {
		t.Fatal(err)
	}
	if full < 4 || later > 10 { // six of fifty if the machine has sent all within the ten seconds
		t.Errorf("%d batches of later rounds, %d of them full", later, full)
	}
}

func TestADeferredRecipientIsFailedWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == address(2) {
			return &smtptest.Action{Reply: "452 4.2.2 mailbox full"}
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	p.importList(3)
	p.startWorker()
	in := mailing(3)
	in.Deferral.For = workflows.Duration(6 * time.Second)
	r := p.result(p.start(in))
	p.judge(s.Copies(), 3)
	if l := p.report()[address(2)]; r.Counts.Failed != 1 || l.Outcome != ledger.Failed || l.Code != 452 || l.Reply != "mailbox full" || l.Attempts < 2 {
		t.Errorf("%+v; %+v", r.Counts, l)
	}
}

func TestAServerThatRefusesUsIsLeftAndNoRecipientIsBlamed(t *testing.T) {
	t.Parallel()
	const recipients = 60
	refusing := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "MAIL" {
			return &smtptest.Action{Reply: "550 5.7.1 your host is on a list"}
		}
		return nil
	}})
	good := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, fmt.Sprintf("bad=smtp://%s good=smtp://%s", refusing.Addr(), good.Addr()))
	p.importList(recipients)
	p.startWorker()
	r := p.result(p.start(mailing(20)))
	if d := p.judge(good.Copies(), recipients); d > 0 || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
	if s, err := p.status(); err != nil || !strings.Contains(s.DropPoints[0].LastFailure, "5.7.1") {
		t.Errorf("%+v, %v", s.DropPoints, err)
	}
}

func TestTheErrorLimitStopsAMailingWhoseListIsBad(t *testing.T) {
	t.Parallel()
	const recipients = 2000
	stall := smtptest.NewStall("RCPT", 0) // the server answers on each connection at each look of the test
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" {
			return nil
		}
		return &smtptest.Action{Wait: stall.Wait(), Reply: "550 5.1.1 unknown"}
	}})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	in := mailing(20)
	in.MaxErrorPercent, in.ErrorMinimum = 10, 40
	p.start(in)
	p.doing("it is suspended, and says why", func(s workflows.Status) bool {
		stall.Release(lanes)
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "error limit") && !s.Since.IsZero()
	})
	stall.ReleaseAll()
	p.steer(workflows.CancelUpdate)
	r := p.result(p.temporal.GetWorkflow(t.Context(), p.id(), ""))
	p.judge(s.Copies(), recipients)
	if r.State != workflows.StateCancelled || r.Counts.Bounced > recipients/2 || r.Counts.Bounced < 40 || r.Counts.Bounced+r.Counts.Unsent != recipients {
		t.Errorf("%+v", r)
	}
}

func TestPauseTakesEffectInTheMiddleOfABatchAndResumeGoesOnWithNobodyTwice(t *testing.T) {
	t.Parallel()
	const recipients, first = 1000, 100
	s, stall := held(t, first)
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(recipients)) // one batch
	p.full(s, stall, first)
	p.steer(workflows.PauseUpdate)
	p.heard()
	stall.ReleaseAll() // from here on, only the pause keeps the rest of the batch from being sent
	p.doing("nothing is in flight any more", func(st workflows.Status) bool {
		return st.State == workflows.StatePaused && strings.Contains(st.Doing, "waits to be resumed")
	})
	if n := len(s.Received()); n != first+lanes || !s.Quiet() {
		t.Errorf("%d of %d were sent before it was paused, want %d and those in flight", n, recipients, first)
	}
	if _, err := p.update(workflows.PauseUpdate); err == nil {
		t.Error("a paused mailing was paused again")
	}
	p.steer(workflows.ResumeUpdate)
	r := p.result(run)
	if d := p.judge(s.Copies(), recipients); d > 0 || r.Counts.Sent != recipients || r.Counts.PossiblyTwice > 0 {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
}

func TestTheUpdateCancelLeavesTheRestUnsentWithinSeconds(t *testing.T) {
	t.Parallel()
	const recipients, first = 1000, 100
	s, stall := held(t, first)
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(recipients))
	p.full(s, stall, first)
	p.steer(workflows.CancelUpdate)
	p.heard()
	stall.ReleaseAll()
	r := p.result(run)
	if d := p.judge(s.Copies(), recipients); d > 0 || r.State != workflows.StateCancelled || r.Counts != (workflows.Counts{Sent: first + lanes, Unsent: recipients - first - lanes}) ||
		len(s.Received()) != first+lanes {
		t.Errorf("%d duplicates, %d received; %+v", d, len(s.Received()), r)
	}
}

// aheadOf returns by how many messages a rate limit was exceeded at the worst, if its first turn
// was given at began. A turn is never given before its time, so this holds on a machine of any
// speed.
func aheadOf(received []smtptest.Message, began time.Time, perSecond float64) float64 {
	worst := math.Inf(-1)
	for i, m := range received {
		worst = max(worst, float64(i+1)-m.At.Sub(began).Seconds()*perSecond)
	}
	return worst
}

func TestARateLimitHoldsOverAllWorkersAndAChangeTakesEffectInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	const recipients, limit = 600, 25
	var connected times
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" { // a worker has its connection before it asks for the first turn
			connected.add(time.Now())
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	p.startWorker()
	p.startWorker()
	in := mailing(100)
	in.Rates.Mailing = workflows.Rate(fmt.Sprintf("%d/s", limit))
	run := p.start(in)
	p.eventually("it has sent for a while", func() bool { return len(s.Received()) > 4*limit })
	began := connected.all[0]
	if ahead := aheadOf(s.Received(), began, limit); ahead > 3 {
		t.Errorf("%.1f messages more arrived than the limit of %d a second allows", ahead, limit)
	}
	p.steer(workflows.RateUpdate, workflows.RateChange{Rate: "none"})
	r := p.result(run)
	if d := p.judge(s.Copies(), recipients); d > 0 || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
	if ahead := aheadOf(s.Received(), began, limit); ahead < limit {
		t.Errorf("the limit was kept after it was lifted: at no time were more than %.1f messages out that it did not allow", ahead)
	}
}

// Mail for one domain waits for that domain's limit; mail for others overtakes it.
func TestALimitOfADomainHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, mx(s))
	p.importList(200)
	if _, err := p.pool.Exec(t.Context(), `UPDATE list_members SET address = replace(address, 'example.org', 'example.net'), address_key = replace(address_key, 'example.org', 'example.net')
		WHERE position % 4 = 0`); err != nil {
		t.Fatal(err)
	}
	p.startWorker()
	in := mailing(200)
	in.Rates.Domains = map[string]workflows.Rate{"example.net": "1/min"}
	p.start(in)
	slow := func() (n int) {
		for a := range s.Copies() {
			if strings.HasSuffix(a, "@example.net") {
				n++
			}
		}
		return n
	}
	p.eventually("everybody else has got it", func() bool { return len(s.Copies())-slow() == 150 })
	if n := slow(); n > 10 {
		t.Errorf("%d of 50 messages to the limited domain are out already", n)
	}
	p.steer(workflows.RateUpdate, workflows.RateChange{Domain: "example.net", Rate: "none"})
	r := p.result(p.temporal.GetWorkflow(t.Context(), p.id(), ""))
	if d := p.judge(s.Copies(), 200); d > 0 || r.Counts.Sent != 200 {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
}

// One who is held is resolved while the mailing goes on: sent to again, marked as possibly twice.
func TestAHeldRecipientIsSentToAgainWhenSomebodyDecidesSo(t *testing.T) {
	t.Parallel()
	var died, decided atomic.Bool
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && e.To == address(3) && !died.Swap(true) {
			return &smtptest.Action{Die: true}
		}
		if e.Phase == "RCPT" && e.To == address(8) && !decided.Load() {
			return &smtptest.Action{Reply: "451 4.7.1 try again in 1 second"} // keeps the mailing open
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	p.importList(10)
	p.startWorker()
	in := mailing(5)
	in.OnUncertain = workflows.Hold
	run := p.start(in)
	p.doing("one is held", func(s workflows.Status) bool { return s.Counts.Uncertain == 1 })
	var n int
	h, err := p.temporal.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{WorkflowID: p.id(), UpdateName: workflows.ResolveUpdate,
		Args: []any{workflows.Resolution{As: "resend"}}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = h.Get(t.Context(), &n)
	}
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	decided.Store(true)
	r := p.result(run)
	p.judge(s.Copies(), 10)
	if l := p.report()[address(3)]; l.Outcome != ledger.Sent || !l.PossiblyTwice || r.Counts != (workflows.Counts{Sent: 10, PossiblyTwice: 1}) {
		t.Errorf("%+v; %+v", r.Counts, l)
	}
}

// A small mailing that is started while a large one keeps every slot and connection busy is done in seconds.
func TestASmallMailingDoesNotWaitForALargeOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dynamic map[string]string
		seconds int // for which the small mailing may take, by the server's pace
	}{
		"where the server knows fairness": {nil, 20},
		"where it does not":               {map[string]string{"matching.enableFairness": "false"}, 75},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			smallBesideLarge(t, c.dynamic, c.seconds)
		})
	}
}

// smallBesideLarge starts a mailing of 100 beside one of which 100 seconds are left, and looks at what was sent until it was done.
func smallBesideLarge(t *testing.T, dynamic map[string]string, seconds int) {
	const many, few, pace = 10_000, 100, 100
	s := smtptest.Start(t, smtptest.Options{Script: slowly(40 * time.Millisecond)}) // 100 a second over the four connections
	address := servertest.Temporal(t)
	if dynamic != nil {
		address = servertest.OwnTemporal(t, dynamic).Address()
	}
	p := newPlantOn(t, mx(s), servertest.Database(t), address)
	p.importList(many)
	p.startWorker()
	large := p.start(mailing(500))
	p.eventually("the large one is under way", func() bool { return len(s.Received()) > 2*pace })
	small := p.another("small")
	if _, err := p.pool.Exec(t.Context(), `INSERT INTO lists (name, source, members, columns) VALUES ('few', 'few.csv', $1, '{name}')`, few); err != nil {
		t.Fatal(err)
	}
	if _, err := p.pool.Exec(t.Context(), `INSERT INTO list_members SELECT (SELECT id FROM lists WHERE name = 'few'), position, 's' || address, 's' || address_key, attributes
		FROM list_members WHERE position <= $1`, few); err != nil {
		t.Fatal(err)
	}
	in := mailing(500)
	in.List = "few"
	began := time.Now()
	before := len(s.Received())
	r := small.result(small.start(in))
	if r.Counts.Sent != few {
		t.Errorf("%+v", r)
	}
	if after := len(s.Received()) - before; after > seconds*pace {
		t.Errorf("the small mailing was done after %v and %d other messages", time.Since(began), after)
	}
	p.steer(workflows.CancelUpdate)
	p.result(large)
	copies := s.Copies()
	for a := range copies {
		if strings.HasPrefix(a, "s") {
			delete(copies, a)
		}
	}
	p.judge(copies, many)
}

// another is the same plant, for a second mailing under an ID of its own.
func (p *plant) another(suffix string) *plant {
	q := &plant{TB: p.TB, points: p.points, url: p.url, address: p.address, queue: p.queue, pool: p.pool, temporal: p.temporal}
	q.name = p.id() + "-" + suffix
	return q
}

func TestADropDirectoryThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	const recipients = 200
	dir := filepath.Join(t.TempDir(), "drop")
	p := newPlant(t, "drop=dir:"+dir)
	p.importList(recipients)
	p.startWorker()
	in := mailing(50)
	in.Retry.DropPoint.Attempts = 2
	run := p.start(in)
	p.doing("it is suspended", func(s workflows.Status) bool {
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "drop")
	})
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := p.result(run)
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil || len(files) != recipients || r.Counts.Sent != recipients {
		t.Errorf("%d files, %v; %+v", len(files), err, r)
	}
}

// The database is away for longer than the mailing's tries: it is suspended, says why, and goes on by itself.
func TestALongOutageOfTheDatabaseSuspendsTheMailingWhichGoesOnByItself(t *testing.T) {
	t.Parallel()
	const recipients = 400
	server := servertest.OwnPostgres(t)
	s, stall := held(t, 40)
	p := newPlantOn(t, mx(s), server.URL("mail"), servertest.Temporal(t))
	p.importList(recipients)
	p.startWorker()
	in := mailing(20)
	in.Retry.Database.Attempts = 2
	run := p.start(in)
	p.full(s, stall, 40)
	server.Kill()
	stall.ReleaseAll()
	p.doing("it is suspended", func(s workflows.Status) bool { return s.State == workflows.StateSuspended && !s.Since.IsZero() })
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := p.result(run)
	if d := p.judge(s.Copies(), recipients); d > lanes || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
}

// Every copy of a message has the same key before it, so that a relay that knows the header takes it once.
func TestAnIdempotencyHeaderIsTheSameForEveryAttempt(t *testing.T) {
	t.Parallel()
	var died atomic.Int64
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && died.Add(1) <= 3 {
			return &smtptest.Action{Die: true, Accept: true}
		}
		return nil
	}})
	p := newPlant(t, mx(s)+"&idempotency=X-Idempotency-Key")
	p.importList(20)
	p.startWorker()
	p.result(p.start(mailing(10)))
	keys, owner := map[string]string{}, map[string]string{}
	copies := 0
	for _, m := range s.Received() {
		copies++
		line, _, _ := strings.Cut(m.Data, "\r\n")
		key, ok := strings.CutPrefix(line, "X-Idempotency-Key: ")
		if !ok || !strings.Contains(m.Data, "Message-ID: <"+key+"@") || strings.Contains(key, "@") {
			t.Fatalf("message to %s:\n%s", m.To, m.Data)
		}
		if known := keys[m.To]; known != "" && known != key {
			t.Errorf("%s has the keys %s and %s", m.To, known, key)
		}
		if other := owner[key]; other != "" && other != m.To {
			t.Errorf("%s and %s have the same key", other, m.To)
		}
		keys[m.To], owner[key] = key, m.To
	}
	if len(keys) != 20 || copies <= 20 {
		t.Errorf("%d recipients, %d copies", len(keys), copies)
	}
}
