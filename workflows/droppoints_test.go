package workflows

import (
	"errors"
	"slices"
	"testing"
	"time"
)

var epoch = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// twoDropPoints returns drop points a and b that leave the list after two failures, a minute apart.
func twoDropPoints() dropPoints {
	d := newDropPoints(nil, Retry{Attempts: 2, Interval: Duration(time.Minute)})
	d.add([]string{"a", "b"})
	return d
}

// names of the drop points that a batch may use.
func usableNames(d *dropPoints, now time.Time) (out []string) {
	for _, p := range d.usable(now) {
		out = append(out, p.Name)
	}
	return out
}

func (d *dropPoints) mustFail(t *testing.T, name string, now time.Time, left bool) {
	t.Helper()
	report := DropPointReport{Name: name, Failure: "refused"}
	if accepted, gone := d.report(report, d.failureCounts(), now); accepted || gone != left {
		t.Errorf("%s at %s: accepted %v, left the list %v", name, now, accepted, gone)
	}
}

func TestADropPointThatFailsRestsForItsInterval(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	d.mustFail(t, "a", epoch, false)
	if got := usableNames(&d, epoch.Add(59*time.Second)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("during the rest: %v", got)
	}
	if got := usableNames(&d, epoch.Add(time.Minute)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("after the rest: %v", got)
	}
	d.endRest() // an operator resumes the mailing
	if got := usableNames(&d, epoch); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("after a resume: %v", got)
	}
}

// A batch that started before the failure fails as well. That is one failure, not two.
func TestAFailureDuringTheRestIsNotCounted(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	for range 10 {
		d.mustFail(t, "a", epoch, false)
	}
	if p := d.find("a"); p.Failures != 1 || !p.InList {
		t.Errorf("%+v", p)
	}
}

func TestADropPointOutOfTheListIsProbedAtGrowingIntervals(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	now := epoch
	d.mustFail(t, "a", now, false)
	now = now.Add(time.Minute)
	d.mustFail(t, "a", now, true)
	var pauses []time.Duration
	for range 6 {
		next := d.nextProbe()
		pauses = append(pauses, next.Sub(now))
		if due := d.startProbes(next.Add(-time.Second), false); len(due) > 0 {
			t.Errorf("%v is probed before its time", due)
		}
		now = next
		if due := d.startProbes(now, false); !slices.Equal(due, []string{"a"}) {
			t.Fatalf("due: %v", due)
		}
		if due := d.startProbes(now, true); len(due) > 0 {
			t.Errorf("%v is probed twice at a time", due)
		}
		if d.endProbe("a", Checked{Failure: "still down"}, nil, now) {
			t.Error("a drop point that cannot be used is back")
		}
	}
	minutes := []time.Duration{1, 2, 4, 8, 15, 15}
	for i, want := range minutes {
		if pauses[i] != want*time.Minute {
			t.Errorf("pauses %v, want minutes %v", pauses, minutes)
			break
		}
	}
	if p := d.find("a"); p.LastFailure != "still down" {
		t.Errorf("the last failure is %q", p.LastFailure)
	}
	if due := d.startProbes(now, true); !slices.Equal(due, []string{"a"}) {
		t.Errorf("a resume probes %v", due)
	}
	if d.endProbe("a", Checked{Usable: true}, errors.New("timeout"), now) {
		t.Error("a probe without an answer brings a drop point back")
	}
}

func TestADropPointOnTrialHasOneBatchUntilItAcceptsMail(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	d.mustFail(t, "a", epoch, false)
	d.mustFail(t, "a", epoch.Add(time.Minute), true)
	now := epoch.Add(time.Hour)
	d.startProbes(now, false)
	if !d.endProbe("a", Checked{Usable: true}, nil, now) || !d.find("a").OnTrial {
		t.Fatalf("after a probe: %+v", d.all)
	}
	used := d.usable(now)
	d.startTrials(used)
	if got := usableNames(&d, now); len(used) != 2 || !slices.Equal(got, []string{"b"}) {
		t.Errorf("during the trial: %v", got)
	}
	d.endTrials(used)
	if got := usableNames(&d, now); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("after a batch without an answer: %v", got)
	}
	if accepted, left := d.report(DropPointReport{Name: "a", Accepted: 1}, d.failureCounts(), now); !accepted || left {
		t.Error("accepted mail does not count")
	}
	if p := d.find("a"); p.OnTrial || p.Failures != 0 || p.Probes != 0 || !p.Proven {
		t.Errorf("after the trial: %+v", p)
	}
}

// A bounce is an answer about the recipient: the drop point works.
func TestADropPointThatAnswersIsNoLongerOnTrial(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	d.find("a").OnTrial = true
	works, left := d.report(DropPointReport{Name: "a", Answered: 1}, d.failureCounts(), epoch)
	if p := d.find("a"); !works || left || p.OnTrial || p.Proven || p.HasAccepted {
		t.Errorf("%+v", p)
	}
}

// A batch that started before may report a failure, however late.
func TestAFailureOfADropPointOutOfTheListIsNotCounted(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	d.mustFail(t, "a", epoch, false)
	d.mustFail(t, "a", epoch.Add(time.Minute), true)
	before := *d.find("a")
	d.mustFail(t, "a", epoch.Add(time.Hour), false)
	if after := *d.find("a"); after.Failures != before.Failures || after.Probes != before.Probes ||
		!after.Until.Equal(before.Until) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// One failure on trial is enough, whatever the number of attempts.
func TestADropPointThatFailsOnTrialLeavesTheListAtOnce(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	d.retry.Attempts = 10
	d.find("a").OnTrial = true
	d.mustFail(t, "a", epoch, true)
	if d.inList() != 1 {
		t.Errorf("%+v", d.all)
	}
}

func TestTheRestOfDropPointsEndsWithThatOfTheFirst(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	d.mustFail(t, "b", epoch.Add(time.Second), false)
	if until := d.restUntil(); !until.IsZero() {
		t.Errorf("drop point a does not rest, and yet: %s", until)
	}
	d.mustFail(t, "a", epoch.Add(2*time.Second), false)
	if until := d.restUntil(); !until.Equal(epoch.Add(61 * time.Second)) {
		t.Errorf("rest until %s", until)
	}
	if got, want := d.failures(), "refused (attempt 1 of 2); refused (attempt 1 of 2)"; got != want {
		t.Errorf("failures %q, want %q", got, want)
	}
}

// A report may name a drop point that the mailing does not have; nothing follows from it.
func TestAReportAboutAnotherDropPointChangesNothing(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	d.mustFail(t, "other", epoch, false)
	if got := usableNames(&d, epoch); len(got) != 2 {
		t.Errorf("usable: %v", got)
	}
}

// Neither another failure nor bounces show that a drop point does not refuse our mail any more.
func TestADropPointRefusesUsUntilItAcceptsMail(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	later := epoch.Add(time.Hour)
	want := func(failed, refuses bool) {
		t.Helper()
		if p := d.usable(later)[0]; p.Name != "a" || p.Failed != failed || p.Refuses != refuses {
			t.Errorf("%+v, want failed %v, refuses %v", p, failed, refuses)
		}
	}
	want(false, false)
	d.report(DropPointReport{Name: "a", Failure: "connection refused"}, d.failureCounts(), epoch)
	want(true, false)
	before := d.failureCounts()
	d.report(DropPointReport{Name: "a", Accepted: 1}, d.failureCounts(), epoch)
	want(false, false)
	d.report(DropPointReport{Name: "a", Failure: "550 no", Refuses: true}, d.failureCounts(), epoch)
	want(true, true)
	d.report(DropPointReport{Name: "a", Failure: "connection refused"}, d.failureCounts(), epoch)
	want(true, true)
	d.report(DropPointReport{Name: "a", Answered: 1}, d.failureCounts(), epoch)
	want(true, true)
	d.report(DropPointReport{Name: "a", Accepted: 1}, before, epoch)
	want(true, true)
	d.report(DropPointReport{Name: "a", Accepted: 1}, d.failureCounts(), epoch)
	want(false, false)
	d.report(DropPointReport{Name: "a", Failure: "connection refused"}, d.failureCounts(), epoch)
	want(true, false)
}

// A batch that started before the last failure has accepted mail before it: that proves nothing.
func TestADropPointIsProvenByWhatItAcceptsAfterItsLastFailure(t *testing.T) {
	t.Parallel()
	d := twoDropPoints()
	accepted := DropPointReport{Name: "a", Accepted: 5}
	d.report(accepted, d.failureCounts(), epoch)
	if !d.find("a").Proven {
		t.Error("not proven by what it has accepted")
	}
	before := d.failureCounts()
	d.mustFail(t, "a", epoch, false)
	if d.find("a").Proven || !d.find("a").HasAccepted {
		t.Error("proven after a failure")
	}
	if d.report(accepted, before, epoch); d.find("a").Proven {
		t.Error("proven by a batch that started before the failure")
	}
	if d.report(DropPointReport{Name: "a", Answered: 3}, d.failureCounts(), epoch); d.find("a").Proven {
		t.Error("proven by bounces")
	}
	if d.report(accepted, d.failureCounts(), epoch); !d.find("a").Proven {
		t.Error("not proven by what it has accepted since")
	}
}
