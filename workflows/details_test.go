package workflows

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The Web UI puts the details into an address, and many a proxy refuses addresses of more than 8
// KiB.
func TestTheDetailsFitIntoAnAddressWhateverOthersHaveWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC)
	for _, text := range []string{"a", "*", "小", "_", "\x00", "@"} {
		long := strings.Repeat(text, 100_000)
		s := Status{
			State: StateSuspended, Doing: long, Since: at, Until: at, RatePerSecond: 1e9, ETA: at,
			Recipients: 1 << 60, Deferred: 1 << 60, NextRound: at, Batches: 1 << 60, Rendered: 1 << 60, Closed: 1 << 60,
		}
		for i := range 1000 {
			p := DropPointStatus{Name: fmt.Sprintf("%060d", i), Until: at, LastFailure: long}
			s.DropPoints = append(s.DropPoints, p)
		}
		d := s.Details()
		address := strings.ReplaceAll(url.QueryEscape(d), "+", "%20")
		if len(address) > 8000 || !utf8.ValidString(d) {
			t.Errorf("%q: %d bytes, %d in an address, valid %v", text, len(d), len(address), utf8.ValidString(d))
		}
		if !strings.Contains(d, "and 992 others") || !strings.Contains(d, "Next probe") {
			t.Errorf("what is shortened is not told:\n%s", d)
		}
	}
}

func TestTheDetailsOfAMailboxHoldNoMarkdownOfItsServer(t *testing.T) {
	t.Parallel()
	p := MailboxProgress{Failures: 2, Failure: "log in: the server answers NO [<img>]\n# " + strings.Repeat("小", 9000)}
	p.Skipped = 3
	d := p.details()
	if n := len(url.QueryEscape(d)); n > 8000 {
		t.Errorf("%d bytes in an address", n)
	}
	if strings.Contains(d, "<img>") || strings.Contains(d, "\n# ") {
		t.Errorf("the server's Markdown is in the details:\n%s", d)
	}
}

func TestTheDetailsNameADropPointThatRestsBeforeThoseWithoutAFailure(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC)
	s := Status{
		State: StateSending,
		Doing: "renders and sends",
		DropPoints: []DropPointStatus{
			{Name: "a", InList: true},
			{Name: "b", InList: true, Until: at, Failures: 1, Attempts: 5, LastFailure: "drop point b: refused"},
			{Name: "c", Until: at, LastFailure: "gone"},
			{Name: "d", InList: true, Failures: 2, Attempts: 5, LastFailure: "busy"},
		},
	}
	_, points, _ := strings.Cut(s.Details(), "Drop points:\n\n")
	want := `- **c** has left the list, next probe 2026-11-25 16:00:00 UTC: gone
- **b** rests until 2026-11-25 16:00:00 UTC after attempt 1 of 5: refused
- **d** is tried again after attempt 2 of 5: busy
- **a** is in use
`
	if !strings.HasPrefix(points, want) {
		t.Errorf("got\n%s", points)
	}
	if s.DropPoints[0].Name != "a" {
		t.Error("the status itself is changed")
	}
}

// Who looks at the Web UI sees at once that a mailing goes to people who asked not to be mailed.
func TestTheDetailsSayWhoseOptOutsAreIgnored(t *testing.T) {
	t.Parallel()
	s := Status{State: StateSending, IgnoresOptOuts: []string{"topic", "all"}}
	want := "- **Ignores opt-outs:** **the mailing also goes to people who asked not to get any mail, " +
		"and to people who left the topic**\n"
	if !strings.Contains(s.Details(), want) {
		t.Errorf("got\n%s", s.Details())
	}
	s.IgnoresOptOuts = nil
	if strings.Contains(s.Details(), "opt-outs") {
		t.Errorf("got\n%s", s.Details())
	}
}
