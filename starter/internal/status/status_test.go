package status

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

// A workflow may end between Temporal's description, which says that it runs, and its own answer.
// Its end is shown with the next description, which also has the reason.
func TestAnEndIsNotShownBeforeTemporalKnowsItsReason(t *testing.T) {
	t.Parallel()
	v := Status{ID: "m", State: workflows.StatePreparing}
	if v.Merge(Workflow{Known: true, pollers: 1, answer: &workflows.Status{State: workflows.StateFailed}}); v.Ended() {
		t.Errorf("%s, without a reason", v.State)
	}
	if v.Merge(Workflow{Known: true, pollers: 1, Ended: workflows.StateFailed, reason: "query.sql: line 1"}); !v.Ended() ||
		v.Reason == "" {
		t.Errorf("%s, because %q", v.State, v.Reason)
	}
}

func TestADropPointSaysHowItDoes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 15, 2, 0, time.Local)
	for want, p := range map[string]workflows.DropPointStatus{
		"mx": {Name: "mx", InList: true},
		"mx has left the list, next probe at " + output.Moment(at) + ", after 5 failures: connection refused": {Name: "mx",
			Failures: 5, Until: at, LastFailure: "connection refused"},
		"mx waits until " + output.Moment(at) + ", after 1 failure: 421": {Name: "mx", InList: true, Failures: 1, Until: at,
			LastFailure: "421"},
		"mx, back in the list, on trial with one batch at a time: 421": {Name: "mx", InList: true, OnTrial: true,
			LastFailure: "421"},
		"mx waits until " + output.Moment(at) + ", after attempt 1 of 5: 421": {Name: "mx", InList: true, Failures: 1,
			Attempts: 5, Until: at, LastFailure: "421"},
		"mx is retried, after attempt 1 of 5: 421": {Name: "mx", InList: true, Failures: 1, Attempts: 5, LastFailure: "421"},
		"mx, in the list again: 421":               {Name: "mx", InList: true, LastFailure: "421", Proven: true},
	} {
		if got := describeDropPoint(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhatIsWaitedForIsSaidWithSinceAndUntil(t *testing.T) {
	t.Parallel()
	since, until := time.Date(2026, 11, 23, 10, 0, 0, 0, time.Local), time.Date(2026, 11, 23, 10, 30, 0, 0, time.Local)
	for want, v := range map[string]Status{
		"waits for not_before (until " + output.Moment(until) + ")": {State: workflows.StateWaiting,
			Doing: "waits for not_before", Until: until},
		"somebody has paused it (since " + output.Moment(since) + ")": {State: workflows.StatePaused,
			Doing: "somebody has paused it", Since: since},
		"waits, because of x (since " + output.Moment(since) + ", next probe " + output.Moment(until) +
			")": {State: workflows.StateSuspended, Doing: "waits, because of x", Since: since, Until: until},
		"renders and sends": {State: workflows.StateSending, Doing: "renders and sends"},
	} {
		if got := v.describeDoing(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheRateIsThatOfTheLastHalfMinute(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	var m meter
	if m.text(10) != "" {
		t.Error("a rate without a sample")
	}
	for s := range 120 { // 100/s for a minute, then 1000/s
		n := int64(s * 100)
		if s > 60 {
			n = 6000 + int64(s-60)*1000
		}
		m.add(begin.Add(time.Duration(s)*time.Second), n)
	}
	if got := m.rate(); got < 990 || got > 1010 {
		t.Errorf("rate %v, want about 1000", got)
	}
	if got := m.text(90_000); got != "1,000/s, 1m30s left" {
		t.Errorf("text %q", got)
	}
	for range 40 {
		begin = begin.Add(time.Second)
		m.add(begin.Add(2*time.Minute), 65_000)
	}
	if got := m.text(90_000); got != "" {
		t.Errorf("a mailing that stands still has the rate %q", got)
	}
}

func TestAStatusSaysWhetherMessagesAreSigned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		keys     []string
		unsigned bool
		want     string
	}{
		{nil, false, ""}, // nothing is rendered yet
		{[]string{"a._domainkey.example.com", "b._domainkey.example.com"}, false,
			"a._domainkey.example.com, b._domainkey.example.com"},
		{nil, true, "no: DM_DKIM of the workers has no key for the domain of from"},
		{[]string{"a._domainkey.example.com"}, true, "IN PART, with a._domainkey.example.com: not every worker has a key " +
			"for the domain of from: give all of them the same DM_DKIM"},
	} {
		s := Status{ID: "m", Signatures: c.keys, Unsigned: c.unsigned}
		if got := s.describeSignatures(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		var b bytes.Buffer
		One.Render(&b, &s)
		if strings.Contains(b.String(), "signed") != (c.want != "") || !strings.Contains(b.String(), c.want) {
			t.Errorf("shown as\n%s", b.String())
		}
	}
}

func TestTheListOfMailingsFitsOnAPage(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long := Status{ID: strings.Repeat("newsletter-", 9) + "2026", State: workflows.StateTerminated,
		Audience: "continue:" + strings.Repeat("x", 100), Recipients: 123_456_789, Open: 10_000_000, CreatedAt: &now,
		Counts: workflows.Counts{
			Sent:      123_456_789,
			Bounced:   23_456_789,
			Failed:    3_456_789,
			OptedOut:  456_789,
			Uncertain: 56_789,
			Unsent:    6_789,
		}}
	short := Status{
		ID:         "newsletter-20261123-101502",
		State:      workflows.StateSending,
		Audience:   "customers",
		Recipients: 2000,
		Counts:     workflows.Counts{Sent: 1999, OptedOut: 1},
		CreatedAt:  &now,
	}
	unknown := Status{ID: "x", State: StateStarted}
	for n, all := range [][]Status{{}, {short}, {unknown}, {long}, {short, long, unknown}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			List.Render(&b, all)
			for line := range strings.Lines(b.String()) {
				if n := text.StringWidthWithoutEscSequences(strings.TrimSuffix(line, "\n")); n > 120 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		})
	}
	if got, want := otherOutcomes(long), "open 10,000,000, bounced 23,456,789, failed 3,456,789, opted out 456,789, "+
		"uncertain 56,789, unsent 6,789"; got != want {
		t.Errorf("the other outcomes are %q, want %q", got, want)
	}
	var b bytes.Buffer
	List.Render(&b, []Status{short})
	if !strings.Contains(
		b.String(),
		"│ newsletter-20261123-101502 │ sending │      2,000 │ 1,999 │ opted out 1 │ "+output.Minute(now)+" │",
	) {
		t.Errorf("what fits is wrapped:\n%s", b.String())
	}
}

func TestAMailingIsShownWithWhatItDoesAndWaitsFor(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 15, 2, 0, time.Local)
	s := Status{
		ID:     "newsletter",
		State:  workflows.StateSuspended,
		Stored: true,
		Doing:  "the database is away",
		Since:  at,
		Until:  at.Add(time.Minute),
		Waiting: []Waiting{
			{What: "render a batch", Failure: "no page", Attempt: 2, Of: 5},
			{What: "send through drop point mx", dropPoint: "mx"},
		},
		Audience:      "query:crm",
		Members:       2000,
		Duplicates:    3,
		Recipients:    1997,
		Counts:        workflows.Counts{Sent: 1000, PossiblyTwice: 1},
		Open:          997,
		Deferred:      2,
		NextRound:     at,
		Batches:       4,
		Rendered:      3,
		ClosedBatches: 2,
		PreparedAt:    &at,
		CreatedAt:     &at,
		DropPoints: []workflows.DropPointStatus{
			{Name: "mx", InList: true},
		},
		Rates: []Limit{{Kind: "domain", Name: "gmail.com"}},
	}
	var b bytes.Buffer
	One.Render(&b, &s)
	for _, want := range []string{
		"newsletter", "suspended", "the database is away", "since", "next probe",
		"render a batch: no page; attempt 2 of 5 has failed",
		"2 recipients refused for now, next round at", "query:crm", "2,000 members, 3 of which repeat an address",
		"4, 3 rendered, 2 closed",
		"to gmail.com", "Ledger, open", "│ open ", "997",
		"1 recipient may have got the message twice: `starter report newsletter` names them",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "send through drop point") {
		t.Errorf("the drop point is shown twice:\n%s", b.String())
	}
	for state, want := range map[workflows.State]bool{workflows.StateTerminated: true, workflows.StateCompleted: true,
		workflows.StateFailed: true, workflows.StateSending: false} {
		b.Reset()
		One.Render(&b, &Status{ID: "x", State: state, Stored: true})
		if strings.Contains(b.String(), "its ledger is open: `starter close x` closes it") != want {
			t.Errorf("a mailing whose ledger is open says of `starter close`:\n%s", b.String())
		}
	}
}

func TestWhileTemporalIsAwayTheDatabaseStands(t *testing.T) {
	t.Parallel()
	stored := Status{ID: "m", State: workflows.StateSending, Stored: true, Recipients: 7}
	for name, c := range map[string]struct {
		temporal Workflow
		doing    string
	}{
		"away":      {Workflow{Err: fmt.Errorf("refused")}, "Temporal does not answer"},
		"forgotten": {Workflow{}, "it was terminated and forgotten"},
		"no worker": {Workflow{Known: true, queue: "mail"}, `none polls the task queue "mail"`},
		"silent":    {Workflow{Known: true, pollers: 1}, "no worker answers"},
	} {
		s := stored
		s.Merge(c.temporal)
		if s.State != workflows.StateSending || s.Recipients != 7 || !strings.Contains(s.Doing, c.doing) {
			t.Errorf("%s: %s, %q", name, s.State, s.Doing)
		}
	}
	closed := Status{State: workflows.StateCompleted, Closed: true}
	if closed.Merge(Workflow{Known: true, Ended: workflows.StateFailed}); closed.State != workflows.StateCompleted {
		t.Errorf("a closed ledger is %s by the word of Temporal", closed.State)
	}
}

func TestLinesAreWrittenWhenTheStateChangesAndAtTheEnd(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	d := NewDisplay(&b)
	s := Status{
		ID:         "m",
		State:      workflows.StateSending,
		Recipients: 200,
		Counts:     workflows.Counts{Sent: 50},
		Open:       150,
		Batches:    2,
		Doing:      "renders and sends",
	}
	d.Show(s, "10/s, 15s left")
	d.Show(s, "10/s, 15s left") // nothing new
	s.State = workflows.StateClosing
	d.Show(s, "")
	s.State = workflows.StateCompleted
	d.End(s)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 ||
		!strings.Contains(
			lines[0],
			"sending 25%, 50 of 200 recipients, 10/s, 15s left; sent 50; 0 of 2 batches closed; renders and sends",
		) {
		t.Errorf("got\n%s", b.String())
	}
}
