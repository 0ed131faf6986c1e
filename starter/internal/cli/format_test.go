package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"directmailer/internal/ledger"
	"directmailer/workflows"
)

func TestADropPointSaysHowItDoes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 15, 2, 0, time.Local)
	for want, p := range map[string]workflows.DropPointStatus{
		"mx": {Name: "mx", InList: true},
		"mx has left the list, is looked at again at " + moment(at) + ", after 5 failures: connection refused": {Name: "mx", Failures: 5, Until: at, LastFailure: "connection refused"},
		"mx waits until " + moment(at) + ", after 1 failure: 421":                                              {Name: "mx", InList: true, Failures: 1, Until: at, LastFailure: "421"},
		"mx, back in the list, on trial with one batch at a time: 421":                                         {Name: "mx", InList: true, OnTrial: true, LastFailure: "421"},
		"mx waits until " + moment(at) + ", after attempt 1 of 5: 421":                                         {Name: "mx", InList: true, Failures: 1, Attempts: 5, Until: at, LastFailure: "421"},
		"mx is tried again, after attempt 1 of 5: 421":                                                         {Name: "mx", InList: true, Failures: 1, Attempts: 5, LastFailure: "421"},
		"mx, in the list again: 421":                                                                           {Name: "mx", InList: true, LastFailure: "421", Proven: true},
	} {
		if got := describeDropPoint(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhatIsWaitedForIsSaidWithSinceAndUntil(t *testing.T) {
	t.Parallel()
	since, until := time.Date(2026, 11, 23, 10, 0, 0, 0, time.Local), time.Date(2026, 11, 23, 10, 30, 0, 0, time.Local)
	for want, v := range map[string]standing{
		"waits for not_before (until " + moment(until) + ")":                                  {State: workflows.StateWaiting, Doing: "waits for not_before", Until: until},
		"somebody has paused it (since " + moment(since) + ")":                                {State: workflows.StatePaused, Doing: "somebody has paused it", Since: since},
		"waits, because of x (since " + moment(since) + ", next probe " + moment(until) + ")": {State: workflows.StateSuspended, Doing: "waits, because of x", Since: since, Until: until},
		"renders and sends": {State: workflows.StateSending, Doing: "renders and sends"},
	} {
		if got := waiting(v); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestACellThatASpreadsheetWouldRunIsGuarded(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                      "",
		"a@example.com":         "a@example.com",
		"=cmd@example.com":      "'=cmd@example.com",
		"+1@example.com":        "'+1@example.com",
		"-x":                    "'-x",
		"@SUM(A1)":              "'@SUM(A1)",
		"  =1+1":                "'  =1+1",
		"\t=1+1":                "' =1+1",
		"550 no\r\n=such":       "550 no  =such",
		"\x1b[31mred":           " [31mred",
		"550 5.1.1 \u202ecilam": "550 5.1.1  cilam",
	} {
		if got := guard(in); got != want {
			t.Errorf("guard(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAReportLineHasTheColumnsOfItsHeader(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	record := appendRecord(nil, ledger.Line{Address: "a@example.com", Outcome: ledger.Bounced, Attempts: 2, PossiblyTwice: true, DropPoint: "mx",
		Code: 550, Enhanced: "5.1.1", Reply: "no such user", At: &at})
	want := "a@example.com bounced 2 true mx 550 5.1.1 no such user 2026-11-23T10:00:00Z"
	if got := strings.Join(record, " "); got != want || len(record) != len(reportHeader) {
		t.Errorf("got %q in %d columns, want %q in %d", got, len(record), want, len(reportHeader))
	}
	open := appendRecord(nil, ledger.Line{Address: "b@example.com", Outcome: ledger.Open})
	if got := strings.Join(open, ","); got != "b@example.com,open,0,false,,,,," {
		t.Errorf("an open recipient is %q", got)
	}
}

func TestAnArrayIsJSONAtEveryLength(t *testing.T) {
	t.Parallel()
	for n := range 3 {
		var b bytes.Buffer
		a := arrayWriter{w: &b}
		for i := range n {
			if err := a.add(map[string]any{"n": i, "text": "<a> & b"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.end(); err != nil {
			t.Fatal(err)
		}
		var got []map[string]any
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || len(got) != n {
			t.Errorf("%d elements: %v, %d read from %q", n, err, len(got), b.String())
		}
		if n > 0 && !strings.Contains(b.String(), "<a> & b") {
			t.Errorf("text is escaped for HTML: %q", b.String())
		}
	}
}

func TestNumbersAndNounsReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
	for _, c := range []struct {
		n          int
		noun, want string
	}{{1, "row", "1 row"}, {2, "row", "2 rows"}, {0, "batch", "0 batches"}, {1, "address", "1 address"}, {3000, "address", "3,000 addresses"}} {
		if got := count(c.n, c.noun); got != c.want {
			t.Errorf("count(%d, %q) = %q, want %q", c.n, c.noun, got, c.want)
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

func TestADerivedIDIsAValidIDWhateverTheFileIsCalled(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 15, 2, 0, time.UTC)
	for path, want := range map[string]string{
		"newsletter.yaml":                         "newsletter-20261123-101502",
		"/srv/mail/Spring sale (final).yml":       "Spring-sale-final-20261123-101502",
		"..yaml":                                  "mailing-20261123-101502",
		"новости.yaml":                            "mailing-20261123-101502",
		"a@example.com.yaml":                      "a-example-com-20261123-101502",
		strings.Repeat("long-", 40) + "name.yaml": strings.TrimSuffix(strings.Repeat("long-", 12), "-") + "-20261123-101502",
	} {
		got := derivedID(path, now)
		if got != want {
			t.Errorf("derivedID(%q) = %q, want %q", path, got, want)
		}
		for _, p := range (workflows.Input{ID: got}).Validate() {
			if p.Field == "id" {
				t.Errorf("derivedID(%q) = %q is no valid ID", path, got)
			}
		}
	}
}

func TestErrorsAreOneLineThatCannotSteerATerminal(t *testing.T) {
	t.Parallel()
	got := oneLine("first\r\n\nsecond \x1b[2J\nfirst\n")
	if got != "first; second  [2J" {
		t.Errorf("%q", got)
	}
}
