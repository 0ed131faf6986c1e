package workflows

import (
	"strings"
	"testing"
	"time"
)

// The server gives a few connections, and worker A has all of them.
func TestAFailureOfOneWorkerIsExcusedWhileTheDropPointWorksOnOthers(t *testing.T) {
	t.Parallel()
	fails := DropPointReport{Name: "mx", Failure: "drop point mx: greeting was refused: 421 4.3.2"}
	accepts := DropPointReport{Name: "mx", Accepted: 20}
	for name, c := range map[string]struct {
		worker string
		report DropPointReport
		after  time.Duration
		want   bool
	}{
		"another worker":                      {"b", fails, worksFor - 1, true},
		"another worker, long after":          {"b", fails, worksFor, false},
		"the same worker":                     {"a", fails, 0, false},
		"a drop point that refuses our mail":  {"b", DropPointReport{Name: "mx", Failure: "no", Refuses: true}, 0, false},
		"another drop point":                  {"b", DropPointReport{Name: "spare", Failure: "no"}, 0, false},
		"another worker that accepts as well": {"b", accepts, 0, false},
	} {
		var n dropPointNews
		n.hear("a", accepts, epoch)
		if got := n.hear(c.worker, c.report, epoch.Add(c.after)); got != c.want {
			t.Errorf("%s: excused is %v", name, got)
		}
		// A failure that is not excused is told as that of the drop point, and not once more.
		if text := n.describe(c.report.Name); strings.Contains(text, "no connection") != c.want {
			t.Errorf("%s: described as %q", name, text)
		}
	}
}

func TestAServerThatIsGoneIsNotExcusedForWhatItDidBefore(t *testing.T) {
	t.Parallel()
	var n dropPointNews
	for _, worker := range []string{"a", "b"} {
		n.hear(worker, DropPointReport{Name: "mx", Accepted: 20}, epoch)
	}
	fails := DropPointReport{Name: "mx", Failure: "drop point mx: connect: connection refused"}
	if !n.hear("b", fails, epoch.Add(time.Second)) {
		t.Error("the first failure is not excused, although the other worker may be working")
	}
	if n.hear("a", fails, epoch.Add(time.Second)) {
		t.Error("the failure of the last worker is excused")
	}
}

func TestTheStatusSaysWhatSlowsADropPointDown(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	since := epoch.Add(-time.Minute)
	hear := func(worker string, r DropPointReport) {
		r.Name = "a"
		d.news.hear(worker, r, epoch)
	}
	want := func(what, slowed, connects string) {
		t.Helper()
		if got := d.statuses()[0].Slowed; got != slowed {
			t.Errorf("%s: %q, want %q", what, got, slowed)
		}
		d.find("b").InList = false
		if got := d.connects(); got != connects {
			t.Errorf("%s: %q, want %q", what, got, connects)
		}
	}
	want("nothing", "", "")
	hear("w1", DropPointReport{OpeningSince: epoch, OpeningStep: "greeting"})
	hear("w2", DropPointReport{OpeningSince: since, OpeningStep: "connect"})
	want("no connection", "being connected to since 2026-11-25 11:59:00 UTC (connect)",
		"drop point a is being connected to since 2026-11-25 11:59:00 UTC (connect)")
	hear("w1", DropPointReport{Accepted: 1, Connections: 2, FewerReason: "greeting was refused: 421 4.3.2"})
	hear("w2", DropPointReport{Accepted: 1, Connections: 1, FewerReason: "greeting was refused: 421 4.3.2"})
	want("few connections", "gives 3 connections: greeting was refused: 421 4.3.2", "")
	hear("w1", DropPointReport{Accepted: 1, Rate: 5.5, RateReason: "final dot was refused: 454"})
	hear("w2", DropPointReport{Failure: "drop point a: connect: timed out"})
	want("a slow rate, and a worker without a connection",
		"slowed down to 5.5 messages/s: final dot was refused: 454; gives 1 worker no connection: connect: timed out", "")
	d.news.hear("w3", DropPointReport{Name: "b", Accepted: 1}, epoch.Add(newsFor+1))
	want("old news", "", "")
	p := DropPointStatus{Name: "a", InList: true, Slowed: "gives 3 connections: 421 <b>"}
	if got := p.describe(); got != "is in use; gives 3 connections: 421 &#60;b&#62;" || strings.Contains(got, "<") {
		t.Errorf("the Web UI shows %q", got)
	}
}
