package activities

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/content"
	"directmailer/internal/content/page"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// crowd is a list of n members, with a column n.
type crowd struct{ n, at int }

func (s *crowd) Next() (member.Member, error) {
	if s.at++; s.at > s.n {
		return member.Member{}, io.EOF
	}
	a, err := address.Parse(fmt.Sprintf("r%d@example.org", s.at))
	return member.Member{Position: int64(s.at), Address: a, Attributes: fmt.Appendf(nil, `{"n":"%d"}`, s.at)}, err
}

func (s *crowd) Rejected() int64 { return 0 }

// prepared is a mailing whose list is frozen into one batch.
func prepared(t *testing.T, size int, content workflows.Content) (*pgxpool.Pool, *Activities) {
	t.Helper()
	return preparedInBatches(t, size, 5000, content)
}

// preparedInBatches is prepared with the number of recipients in a batch.
func preparedInBatches(t *testing.T, size, batch int, content workflows.Content) (*pgxpool.Pool, *Activities) {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 4)
	rows := &crowd{n: size}
	if _, err := lists.New(pool).Import(t.Context(), "people", "people.csv", []string{"n"}, rows, true); err != nil {
		t.Fatal(err)
	}
	in := workflows.Input{
		ID:      "spring",
		From:    "News <news@example.com>",
		Subject: "Hello",
		List:    "people",
		Content: content,

		Unsubscribe: workflows.UnsubscribeNone,
	}.WithDefaults()
	if problems := append(in.Validate(), asProblems(in)...); len(problems) > 0 {
		t.Fatal(problems)
	}
	stored, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	store := mailings.New(pool)
	if err := store.Reserve(t.Context(), in.ID, "run", in.List, stored, feedback.Marks{}, "default"); err != nil {
		t.Fatal(err)
	}
	if _, err := recipients.New(pool).Freeze(t.Context(), in.ID, batch); err != nil {
		t.Fatal(err)
	}
	return pool, New(pool, nil, nil, loopback(t), 8, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// loopback fetches pages from this machine.
func loopback(t *testing.T) *page.Fetcher {
	t.Helper()
	var allowed page.Allowed
	if err := allowed.UnmarshalText([]byte("127.0.0.0/8")); err != nil {
		t.Fatal(err)
	}
	f := page.NewFetcher(allowed)
	t.Cleanup(f.Close)
	return f
}

func asProblems(in workflows.Input) (out []workflows.Problem) {
	for _, p := range content.Check(in) {
		out = append(out, workflows.Problem{Field: p.Field, Message: p.Message})
	}
	return out
}

// renderOnce does one attempt at the batch.
func renderOnce(t *testing.T, a *Activities) (workflows.Rendered, error) {
	t.Helper()
	return renderCalled(t, a, workflows.RenderCall{Mailing: "spring", Batch: 1, Retry: retries})
}

// renderCalled does one attempt at a batch.
func renderCalled(t *testing.T, a *Activities, call workflows.RenderCall) (workflows.Rendered, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.RegisterActivityWithOptions(a.RenderBatch, activity.RegisterOptions{Name: policy.RenderBatch})
	var out workflows.Rendered
	v, err := env.ExecuteActivity(policy.RenderBatch, call)
	if err != nil {
		return out, err
	}
	return out, v.Get(&out)
}

// spooled is the batch's spool; nil when there is none.
func spooled(t *testing.T, pool *pgxpool.Pool) (blob []byte) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `SELECT messages FROM spool WHERE batch = 1`).Scan(&blob)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatal(err)
	}
	return blob
}

// messages are those of a spool by the recipients' numbers; none may be there twice.
func messages(t *testing.T, blob []byte) map[int32]string {
	t.Helper()
	r, err := spool.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Reset(blob); err != nil {
		t.Fatal(err)
	}
	out := map[int32]string{}
	for last := int32(0); ; {
		var e spool.Entry
		if err := r.Next(&e); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if e.Recipient <= last {
			t.Errorf("recipient %d comes after %d", e.Recipient, last)
		}
		last = e.Recipient
		out[last] = string(e.Data)
	}
}

// The server fails at the pages of some recipients, and answers all others.
func TestARecipientAtWhosePageTheServerFailsIsDeferredAndTheBatchIsRendered(t *testing.T) {
	t.Parallel()
	const recipients = 20
	for name, bad := range map[string][]int{"first": {1}, "last": {20}, "two": {7, 8}, "three apart": {3, 9, 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
				if slices.Contains(bad, n) {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				w.Header().Set("Content-Type", "text/plain")
				fmt.Fprintf(w, "page %s", r.URL.Path)
			}))
			t.Cleanup(s.Close)
			pool, a := prepared(t, recipients, workflows.Content{PageURL: s.URL + "/{{.n}}?to={{.email}}"})
			out, err := renderOnce(t, a)
			if err != nil || out.Messages != recipients-len(bad) || out.Failed != 0 {
				t.Fatalf("got %+v, %v", out, err)
			}
			if got := messages(t, spooled(t, pool)); len(got) != recipients-len(bad) {
				t.Errorf("%d messages", len(got))
			}
			var deferred []int
			err = pool.QueryRow(t.Context(), `SELECT array_agg(recipient ORDER BY recipient) FROM deliveries
				WHERE status = 'deferred' AND NOT final AND reply LIKE '%answered 500'`).Scan(&deferred)
			if err != nil || !slices.Equal(deferred, bad) {
				t.Errorf("deferred are %v, %v", deferred, err)
			}
		})
	}
}

// A server that fails at three pages in a row, or at every page, is unavailable.
func TestAServerThatFailsAtEveryPageIsUnavailableAndNobodyIsDeferred(t *testing.T) {
	t.Parallel()
	for _, good := range []int{0, 5} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/")); n > good {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintf(w, "page %s", r.URL.Path)
		}))
		t.Cleanup(s.Close)
		pool, a := prepared(t, 20, workflows.Content{PageURL: s.URL + "/{{.n}}?to={{.email}}"})
		_, err := renderOnce(t, a)
		var app *temporal.ApplicationError
		if !errors.As(err, &app) || app.Type() != policy.PageUnavailable {
			t.Fatalf("got %v", err)
		}
		var rows int
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM deliveries`).Scan(&rows); err != nil || rows > 0 {
			t.Errorf("%d rows, %v", rows, err)
		}
	}
}

// One answer of 503 near the end of a batch must not have all of its pages fetched again.
func TestWhatWasComposedBeforeThePageServerFailedIsKept(t *testing.T) {
	t.Parallel()
	const recipients, bad, missing = 500, 470, 9
	var away atomic.Bool
	var requests atomic.Int64
	away.Store(true)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case fmt.Sprintf("/%d", missing):
			w.WriteHeader(http.StatusGone)
		case fmt.Sprintf("/%d", bad):
			if away.Load() {
				w.Header().Set("Retry-After", "300")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			fallthrough
		default:
			fmt.Fprintf(w, "page %s, request %d", r.URL.Path, requests.Load())
		}
	}))
	t.Cleanup(s.Close)
	pool, a := prepared(t, recipients, workflows.Content{PageURL: s.URL + "/{{.n}}?to={{.email}}"})

	_, err := renderOnce(t, a)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != policy.PageUnavailable || app.NonRetryable() ||
		app.Message() != "the page server is unavailable: 127.0.0.1 answered 503 (attempt 1 of 3)" {
		t.Fatalf("got %v", err)
	}
	if app.NextRetryDelay() != 5*time.Minute {
		t.Errorf("the next attempt is after %s, and not when the server has asked for it", app.NextRetryDelay())
	}
	if rendered := spooled(t, pool); rendered != nil {
		t.Error("half a batch is in the spool")
	}
	away.Store(false)
	out, err := renderOnce(t, a)
	if err != nil || out.Messages != recipients-1 || out.Failed != 1 {
		t.Fatalf("got %+v, %v", out, err)
	}
	if again := requests.Load() - recipients; again > 20 {
		t.Errorf("%d pages were fetched twice", again)
	}
	seen := 0
	for number, data := range messages(t, spooled(t, pool)) {
		seen++
		if number == missing || !strings.Contains(data, fmt.Sprintf("page /%d, ", number)) {
			t.Errorf("recipient %d has\n%s", number, data)
		}
	}
	if seen != recipients-1 {
		t.Errorf("%d messages", seen)
	}
	done := requests.Load()
	if out, err := renderOnce(t, a); err != nil || requests.Load() != done {
		t.Errorf("rendered again: %+v, %v, %d requests", out, err, requests.Load()-done)
	}
}

func TestPagesAreNotFetchedAgainBecauseTheDatabaseWasAway(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "page %s", r.URL.Path)
	}))
	t.Cleanup(s.Close)
	pool, a := prepared(t, 20, workflows.Content{PageURL: s.URL + "/{{.n}}"})
	if _, err := pool.Exec(t.Context(), `ALTER TABLE spool RENAME COLUMN messages TO away`); err != nil {
		t.Fatal(err)
	}
	if _, err := renderOnce(t, a); err == nil {
		t.Fatal("it was stored all the same")
	}
	if _, err := pool.Exec(t.Context(), `ALTER TABLE spool RENAME COLUMN away TO messages`); err != nil {
		t.Fatal(err)
	}
	if out, err := renderOnce(t, a); err != nil || out.Messages != 20 || requests.Load() != 20 ||
		len(messages(t, spooled(t, pool))) != 20 {
		t.Errorf("got %+v, %v, %d requests", out, err, requests.Load())
	}
}

// The reason is in the ledger, by the fields of the input; of the URL and of what the server says
// nothing is.
func TestARecipientWhosePageIsNoneIsFailedWithTheReason(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/1":
			http.Error(w, r.URL.String()+" is secret", http.StatusForbidden)
		case "/2":
			w.Header().Set("Content-Type", "application/pdf")
			_, _ = io.WriteString(w, "%PDF r2@example.org")
		case "/3":
			http.Redirect(w, r, "http://evil.example/"+r.URL.RawQuery, http.StatusFound)
		case "/4":
			w.Header().Set("Content-Type", "text/html")
		default:
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<p>page</p>")
		}
	}))
	t.Cleanup(s.Close)
	pool, a := prepared(t, 6, workflows.Content{
		PageURL: s.URL + `/{{if eq .n "5"}}{{.nothing}}{{end}}{{.n}}?to={{.email}}`,
		Text:    "{{if eq .n \"6\"}}{{.nothing}}{{end}}x",
	})
	if out, err := renderOnce(t, a); err != nil || out != (workflows.Rendered{Failed: 6}) {
		t.Fatalf("got %+v, %v", out, err)
	}
	want := []string{
		"content.page_url: 127.0.0.1 answered 403",
		"content.page_url: the page is neither text/html nor text/plain",
		"content.page_url: 127.0.0.1 redirects, and the target is on a host that is not one of page_hosts",
		"content.page_url: the page is blank",
		"content.page_url line 1, column ",
		`content.text line 1, column 19: no field "nothing"`,
	}
	rows, err := pool.Query(
		t.Context(),
		`SELECT recipient, reply FROM deliveries WHERE status = 'failed' AND final ORDER BY recipient`,
	)
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var reason string
	if _, err := pgx.ForEachRow(rows, []any{&number, &reason}, func() error {
		if !strings.HasPrefix(reason, want[number-1]) {
			t.Errorf("recipient %d: got %s", number, reason)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestTheServersPatienceGoesBeforeTheIntervalIfItIsLonger(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]time.Duration{
		0: 10 * time.Second, time.Second: 10 * time.Second, time.Minute: time.Minute,
	} {
		err := fmt.Errorf("render: %w", &page.Unavailable{Cause: "away", RetryAfter: after})
		r := tryUntilDone(t, failFirst(1, err))
		if r.err != nil || r.attempts != 2 || r.took < want || r.took > want+time.Second {
			t.Errorf("asked for %s: %d attempts in %s, %v; want %s", after, r.attempts, r.took, r.err, want)
		}
	}
}

func TestWhatIsKeptOfInterruptedBatchesIsBounded(t *testing.T) {
	t.Parallel()
	partials := newPartials(100)
	batch := func(n int) ledger.Batch { return ledger.Batch{Mailing: 1, Number: int32(n)} }
	for n := range 10 {
		partials.Put(batch(n), partialBatch{last: int32(n + 1), messages: make([]byte, 30)})
	}
	partials.Put(batch(9), partialBatch{last: 11, messages: make([]byte, 40)})
	partials.Put(batch(10), partialBatch{last: 11, messages: make([]byte, 101)})
	if partials.Len() != 3 {
		t.Errorf("%d batches are kept", partials.Len())
	}
	for n, want := range map[int]int32{6: 0, 7: 8, 8: 9, 9: 11, 10: 0} {
		if got, ok := partials.Take(batch(n)); got.last != want || ok != (want > 0) {
			t.Errorf("batch %d: %d, want %d", n, got.last, want)
		}
	}
}
