package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

// wakeUp finds the first of the times at which something is due that no activity brings about.
type wakeUp struct {
	now    time.Time
	first  time.Time // zero if nothing is due
	reason string
}

// at adds a time and its reason. A time that is not after now is ignored: what is due already waits
// for something else.
func (w *wakeUp) at(t time.Time, reason string) {
	if t.After(w.now) && (w.first.IsZero() || t.Before(w.first)) {
		w.first, w.reason = t, reason
	}
}

// alarm is the timer of the sending loop. To save events of the history, there is one timer at
// most, and it is not moved to a later time: it may fire although nothing is due.
type alarm struct {
	at     time.Time // zero if the timer is not running
	cancel func()
}

// set makes the timer fire no later than w says, and call ring then.
func (a *alarm) set(ctx workflow.Context, w wakeUp, ring func()) {
	if w.first.IsZero() || !a.at.IsZero() && !w.first.Before(a.at) {
		return
	}
	if a.cancel != nil {
		a.cancel()
	}
	timerCtx, cancel := workflow.WithCancel(ctx)
	a.at, a.cancel = w.first, cancel
	options := workflow.TimerOptions{Summary: w.reason}
	timer := workflow.NewTimerWithOptions(timerCtx, max(w.first.Sub(w.now), time.Millisecond), options)
	workflow.Go(timerCtx, func(ctx workflow.Context) {
		if timer.Get(ctx, nil) == nil {
			*a = alarm{}
			ring()
		}
	})
}
