package workflows

import (
	"math"
	"testing"
	"time"
)

func suspendedFor(cause Cause) suspension {
	var s suspension
	interval := Duration(time.Minute)
	if cause == CauseErrors || cause == CauseRendering {
		interval = 0
	}
	s.begin(cause, "why", interval, epoch)
	return s
}

// What has nothing to do with the cause goes on.
func TestASuspensionStopsOnlyWhatNeedsTheMissingResource(t *testing.T) {
	t.Parallel()
	for cause, want := range map[Cause]struct{ render, send bool }{
		"":              {true, true},
		CauseDatabase:   {false, false},
		CausePage:       {false, true},
		CauseDropPoints: {true, true}, // the drop points themselves decide what can be sent
		CauseErrors:     {false, false},
		CauseRendering:  {false, false},
		CauseUnexpected: {false, false},
	} {
		var s suspension
		if cause != "" {
			s = suspendedFor(cause)
		}
		render, send := s.allows(CausePage, 0, 0), s.allows(CauseDropPoints, 0, 0)
		if render != want.render || send != want.send {
			t.Errorf("%q: render %v, send %v", cause, render, send)
		}
	}
}

func TestAProbeIsOneActivityWhenItIsDue(t *testing.T) {
	t.Parallel()
	for _, cause := range []Cause{CauseDatabase, CausePage, CauseUnexpected} {
		s := suspendedFor(cause)
		s.probe(0, 0, epoch.Add(59*time.Second))
		if s.probing {
			t.Errorf("%s: probed before the time", cause)
		}
		s.probe(1, 1, epoch.Add(time.Minute))
		if s.probing {
			t.Errorf("%s: probed while an activity is in flight", cause)
		}
		s.probe(0, 0, epoch.Add(time.Minute))
		if !s.allows(CausePage, 0, 0) || s.allows(CausePage, 1, 1) {
			t.Errorf("%s: the probe is not one activity: %+v", cause, s)
		}
		r := s.retries(Retries{Database: Retry{Attempts: 9}, Page: Retry{Attempts: 9}})
		if r.Database.Attempts != 1 || r.Page.Attempts != 1 {
			t.Errorf("%s: the probe has the attempts %+v", cause, r)
		}
	}
	for _, cause := range []Cause{CauseErrors, CauseDropPoints} {
		s := suspendedFor(cause)
		s.probe(0, 0, epoch.Add(time.Hour))
		if s.probing {
			t.Errorf("%s: no activity can find out whether the cause is gone", cause)
		}
	}
}

// Sends go on while the page server is unavailable: they do not keep the probe waiting.
func TestAProbeOfThePageServerDoesNotWaitForSends(t *testing.T) {
	t.Parallel()
	s := suspendedFor(CausePage)
	s.probe(0, 7, epoch.Add(time.Minute))
	if !s.allows(CausePage, 0, 7) {
		t.Error("no batch may be rendered")
	}
}

// An operator who resumes the mailing while activities are in flight does not have to ask again.
func TestAResumeProbesAtOnceOrAsSoonAsNothingIsInFlight(t *testing.T) {
	t.Parallel()
	s := suspendedFor(CauseDatabase)
	s.askForProbe()
	s.probe(0, 1, epoch)
	if s.probing {
		t.Error("probed while an activity is in flight")
	}
	s.probe(0, 0, epoch)
	if !s.probing || s.resumed {
		t.Errorf("no probe, or another one afterwards: %+v", s)
	}
}

// The operator has perhaps repaired what rendering needs, too.
func TestAResumeRendersAtOnceWhatHasFailedMeanwhile(t *testing.T) {
	t.Parallel()
	s := suspendedFor(CauseDropPoints)
	s.BackoffUntil = epoch.Add(time.Hour)
	if s.backsOff(epoch.Add(time.Hour)) || !s.backsOff(epoch) {
		t.Errorf("%+v", s)
	}
	if s.askForProbe(); s.backsOff(epoch) {
		t.Error("after a resume, rendering waits")
	}
}

func TestProbesOfOneCauseAreCountedAndThoseOfAnotherStartAnew(t *testing.T) {
	t.Parallel()
	s := suspendedFor(CauseDatabase)
	for i, want := range []time.Duration{2, 4, 8, 15, 15} {
		s.begin(CauseDatabase, "why", Duration(time.Minute), epoch.Add(time.Hour))
		if got := time.Duration(s.Suspended.Every); got != want*time.Minute || s.Suspended.Probes != i+1 {
			t.Errorf("after probe %d: %+v", i+1, s.Suspended)
		}
	}
	if !s.Suspended.Since.Equal(epoch) {
		t.Errorf("the outage began at %s", s.Suspended.Since)
	}
	s.resumed = true
	s.begin(CausePage, "why", Duration(time.Minute), epoch.Add(time.Hour))
	if got := s.Suspended; got.Probes != 0 || time.Duration(got.Every) != time.Minute || got.Since.Equal(epoch) {
		t.Errorf("another cause: %+v", got)
	}
	if s.resumed {
		t.Error("the operator asked for a probe of the first cause")
	}
}

// Backoff is never shorter than the interval, also where that is longer than the longest pause.
func TestBackoffDoublesUpToAQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		interval time.Duration
		n        int
		want     time.Duration
	}{
		{time.Second, 0, time.Second}, {time.Second, 3, 8 * time.Second}, {time.Minute, 1_000_000, maxBackoff},
		{time.Hour, 0, time.Hour}, {24 * time.Hour, 50, 24 * time.Hour},
	} {
		if got := backoff(Duration(c.interval), c.n); got != c.want {
			t.Errorf("%s after %d: %s, want %s", c.interval, c.n, got, c.want)
		}
	}
}

// Each of the settings may be used up, and the input may not be checked yet.
func TestTheTimeOfAllAttemptsHasRoomForAllPauses(t *testing.T) {
	t.Parallel()
	day := Duration(24 * time.Hour)
	for _, c := range []struct {
		retries Retries
		want    time.Duration
	}{
		{Retries{List: Retry{2, day}, Database: Retry{3, day}, Page: Retry{4, day}}, 9 * 24 * time.Hour},
		{Retries{Page: Retry{10, Duration(time.Second)}}, 10 * time.Hour}, // a server may ask for an hour
		{Retries{List: Retry{math.MaxInt, math.MaxInt64}}, 1000 * 24 * time.Hour},
		{Retries{List: Retry{math.MinInt, day}, Database: Retry{1, math.MinInt64}}, 0},
	} {
		if got := c.retries.pauses(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.retries, got, c.want)
		}
	}
}

func TestTheEndOfASuspensionForgetsAllOfIt(t *testing.T) {
	t.Parallel()
	s := suspendedFor(CauseDatabase)
	s.probing, s.resumed, s.BackoffUntil = true, true, epoch.Add(time.Hour)
	s.end()
	if s != (suspension{}) || s.backsOff(epoch) || !s.allows(CausePage, 3, 3) {
		t.Errorf("%+v", s)
	}
}

func TestASuspendedMailingWakesForItsNextProbe(t *testing.T) {
	t.Parallel()
	for cause, want := range map[Cause]time.Time{
		CauseDatabase: epoch.Add(time.Minute), CausePage: epoch.Add(time.Minute),
		CauseErrors: {}, CauseDropPoints: {}, // an operator, or a check of a drop point
	} {
		s, w := suspendedFor(cause), wakeUp{now: epoch}
		if s.wakeUps(&w); !w.first.Equal(want) {
			t.Errorf("%s: wakes at %s", cause, w.first)
		}
	}
	s, w := suspendedFor(CauseDropPoints), wakeUp{now: epoch}
	s.BackoffUntil = epoch.Add(time.Second)
	if s.wakeUps(&w); !w.first.Equal(s.BackoffUntil) {
		t.Errorf("wakes at %s to render again", w.first)
	}
}
