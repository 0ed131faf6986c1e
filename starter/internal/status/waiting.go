package status

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"

	"directmailer/internal/foreign"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Waiting is work that has failed and is retried, or that no worker has taken up. Work that waits
// for the same thing is one Waiting, with its number in Count.
type Waiting struct {
	// Activity is its name in Temporal, What the same in words, Count how many there are.
	Activity string `json:"activity"`
	What     string `json:"what"`
	Count    int    `json:"count"`
	// Failure says what failed, or why nobody has taken the work up.
	Failure string `json:"failure"`
	// Attempt has failed; zero if none has. Of is the number of attempts after which the mailing
	// acts; zero if that is not known.
	Attempt int `json:"attempt,omitempty"`
	Of      int `json:"of,omitempty"`
	// NextAttempt is when it is retried. It is zero while an attempt runs, or while the work waits
	// for a worker.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	// Running tells that the next attempt has begun.
	Running bool `json:"running,omitempty"`

	dropPoint string // the drop point that it is about, if the workflow has told it
}

// activityWords says what an activity does, for one and for several.
var activityWords = map[string][2]string{
	policy.OpenMailing:      {"check the input", ""},
	policy.PrepareList:      {"freeze the audience into recipients", ""},
	policy.RenderBatch:      {"render a batch", "render %d batches"},
	policy.SendBatch:        {"send a batch", "send %d batches"},
	policy.GatherDeferred:   {"make batches of deferred recipients", ""},
	policy.CheckDropPoint:   {"probe a drop point", "probe %d drop points"},
	policy.SetRate:          {"set a rate limit", "set %d rate limits"},
	policy.ResolveUncertain: {"resolve uncertain recipients", ""},
	policy.CloseMailing:     {"close the ledger", ""},
	policy.ReadMailbox:      {"read the mailbox", ""},
}

// unclaimed is how long work may wait for a worker before the status says so.
const unclaimed = 5 * time.Second

// attemptOf is the end of a typed failure's text. Its number counts failures of that kind only. The
// number of Temporal also counts crashes.
var attemptOf = regexp.MustCompile(` \(attempt (\d+) of (\d+)\)$`)

// waitingOf reads what a workflow of the task queue main waits for from its pending activities.
func waitingOf(
	ctx context.Context,
	c client.Client,
	main string,
	pending []*workflowpb.PendingActivityInfo,
	now time.Time,
) []Waiting {
	running := map[string]bool{}
	for _, p := range pending {
		if p.State == enumspb.PENDING_ACTIVITY_STATE_STARTED {
			running[p.ActivityType.GetName()] = true
		}
	}
	var all []Waiting
	pollers := map[string]string{} // by queue
	for _, p := range pending {
		name := p.ActivityType.GetName()
		w := Waiting{Activity: name, Count: 1}
		switch {
		case p.Paused:
			w.Failure = "an operator has paused the activity in Temporal"
		case p.LastFailure != nil && !policy.HandsOver(p.LastFailure.GetApplicationFailureInfo().GetType()):
			w.fail(p)
		case p.State == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED && !running[name] &&
			now.Sub(p.ScheduledTime.AsTime()) > unclaimed:
			queue := policy.Queue(name, main)
			if _, asked := pollers[queue]; !asked {
				pollers[queue] = busyWorkers(ctx, c, queue)
			}
			w.Failure = "waits for a worker: " + pollers[queue]
			if p.LastFailure != nil {
				w.Failure += "; the last one said: " + said(p.LastFailure)
			}
		default:
			continue
		}
		all = addWaiting(all, w)
	}
	slices.SortStableFunc(all, func(a, b Waiting) int { return cmp.Compare(a.Activity, b.Activity) })
	for i := range all {
		all[i].name()
	}
	return all
}

// fail reads the last failure of a pending activity, and when it is tried again.
func (w *Waiting) fail(p *workflowpb.PendingActivityInfo) {
	w.Failure = failureText(p.LastFailure)
	w.Attempt, w.Of = int(p.Attempt)-1, int(p.MaximumAttempts)
	if parts := attemptOf.FindStringSubmatch(w.Failure); parts != nil {
		w.Failure = strings.TrimSuffix(w.Failure, parts[0])
		w.Attempt, _ = strconv.Atoi(parts[1])
		w.Of, _ = strconv.Atoi(parts[2])
	}
	w.Running = p.State != enumspb.PENDING_ACTIVITY_STATE_SCHEDULED
	switch {
	case w.Running:
	case p.NextAttemptScheduleTime != nil:
		w.NextAttempt = p.NextAttemptScheduleTime.AsTime()
	case p.ScheduledTime != nil: // its time has come, and it waits for a worker
		w.NextAttempt = p.ScheduledTime.AsTime()
	}
}

// failureText is a failure in one line. The failures of our activities hold no address.
func failureText(f *failurepb.Failure) string {
	if t := f.GetTimeoutFailureInfo(); t != nil {
		switch t.TimeoutType {
		case enumspb.TIMEOUT_TYPE_HEARTBEAT:
			return "its worker has stopped: it sent no heartbeat"
		case enumspb.TIMEOUT_TYPE_START_TO_CLOSE:
			return "the attempt took too long"
		}
	}
	return said(f)
}

// maxSaid is the length limit of a failure that is shown, in octets.
const maxSaid = 4 << 10

func said(f *failurepb.Failure) string { return output.Clean(foreign.Cut(f.GetMessage(), maxSaid)) }

// addWaiting adds w to the work that waits for the same thing. The result has the highest attempt
// of all, and the earliest next attempt.
func addWaiting(all []Waiting, w Waiting) []Waiting {
	i := slices.IndexFunc(all, func(o Waiting) bool { return o.Activity == w.Activity && o.Failure == w.Failure })
	if i < 0 {
		return append(all, w)
	}
	o := &all[i]
	o.Count++
	o.Running = o.Running || w.Running
	if o.NextAttempt.IsZero() || !w.NextAttempt.IsZero() && w.NextAttempt.Before(o.NextAttempt) {
		o.NextAttempt = w.NextAttempt
	}
	if w.Attempt > o.Attempt {
		o.Attempt, o.Of = w.Attempt, w.Of
	}
	return all
}

func (w *Waiting) name() {
	words := activityWords[w.Activity]
	switch {
	case w.Count > 1 && words[1] != "":
		w.What = fmt.Sprintf(words[1], w.Count)
	case words[0] != "":
		w.What = words[0]
	default:
		w.What = output.Clean(w.Activity)
	}
}

// busyWorkers says why no worker takes up work from a task queue, as far as Temporal can tell.
func busyWorkers(ctx context.Context, c client.Client, queue string) string {
	d, err := c.DescribeTaskQueue(ctx, queue, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
	switch {
	case err != nil:
		return fmt.Sprintf("no worker has taken it up from the task queue %q", queue)
	case len(d.Pollers) == 0:
		return fmt.Sprintf("none polls the task queue %q", queue)
	case len(d.Pollers) == 1:
		return fmt.Sprintf("the only worker that polls the task queue %q is busy", queue)
	}
	return fmt.Sprintf("all %d workers that poll the task queue %q are busy", len(d.Pollers), queue)
}

// describe says what the work waits for, and until when.
func describe(w Waiting) string {
	text := w.What + ": " + w.Failure
	switch {
	case w.Attempt > 0 && w.Of > 0:
		text += fmt.Sprintf("; attempt %d of %d has failed", w.Attempt, w.Of)
	case w.Attempt > 0:
		text += fmt.Sprintf("; attempt %d has failed", w.Attempt)
	}
	switch {
	case w.Attempt > 0 && w.Running:
		text += ", the next one runs"
	case !w.NextAttempt.IsZero():
		text += ", next attempt at " + output.Moment(w.NextAttempt)
	}
	return text
}

// describeAll is all of it in one line, without the drop points. It is empty if nothing waits.
func describeAll(all []Waiting) string {
	var parts []string
	for _, w := range all {
		if w.dropPoint == "" {
			parts = append(parts, describe(w))
		}
	}
	return output.Clean(strings.Join(parts, "; "))
}

// waitingDropPoints reads which drop points have failed and are retried. The workflow counts their
// failures. No activity is pending meanwhile.
func waitingDropPoints(points []workflows.DropPointStatus) []Waiting {
	var all []Waiting
	for _, p := range points {
		w := Waiting{
			Activity:    policy.SendBatch,
			What:        "send through drop point " + p.Name,
			Count:       1,
			Failure:     output.Clean(p.LastFailure),
			Attempt:     p.Failures,
			Of:          p.Attempts,
			NextAttempt: p.Until,
			Running:     p.InList && p.Until.IsZero(),
			dropPoint:   p.Name,
		}
		switch {
		case !p.InList:
			w.Activity, w.What, w.Running = policy.CheckDropPoint, "probe drop point "+p.Name, false
		case p.OnTrial:
			w.What += ", on trial"
		case p.Failures == 0:
			continue
		}
		all = append(all, w)
	}
	return all
}
