package status

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/types/known/timestamppb"

	"directmailer/internal/dev/servertest"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

const (
	scheduled = enumspb.PENDING_ACTIVITY_STATE_SCHEDULED
	started   = enumspb.PENDING_ACTIVITY_STATE_STARTED
)

func pending(
	activity string,
	state enumspb.PendingActivityState,
	attempt int32,
	since, next time.Time,
	last *failurepb.Failure,
) *workflowpb.PendingActivityInfo {
	p := &workflowpb.PendingActivityInfo{
		ActivityType:  &commonpb.ActivityType{Name: activity},
		State:         state,
		Attempt:       attempt,
		ScheduledTime: timestamppb.New(since),
		LastFailure:   last,
	}
	if !next.IsZero() {
		p.NextAttemptScheduleTime = timestamppb.New(next)
	}
	return p
}

func typed(kind, message string) *failurepb.Failure {
	return &failurepb.Failure{Message: message, FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
		ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: kind}}}
}

func TestWorkThatFailsAlikeIsToldOnceWithItsNumberAndTheFirstNextAttempt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := now.Add(30 * time.Second)
	var all []*workflowpb.PendingActivityInfo
	for i := range 8 {
		text := "drop point mx refuses us: MAIL FROM was refused: 550 5.1.0 (attempt 1 of 5)"
		if i == 3 {
			text = strings.Replace(text, "attempt 1", "attempt 2", 1)
		}
		all = append(
			all,
			pending(
				policy.SendBatch,
				scheduled,
				4,
				now,
				at.Add(time.Duration(i)*time.Second),
				typed(policy.DropPointRefuses, text),
			),
		)
	}
	all = append(
		all,
		pending(
			policy.RenderBatch,
			started,
			3,
			now,
			time.Time{},
			typed(policy.PageUnavailable, "the page server is unavailable: 503 (attempt 2 of 10)"),
		),
		pending(
			policy.CloseMailing,
			scheduled,
			3,
			now,
			at,
			&failurepb.Failure{Message: "x", FailureInfo: &failurepb.Failure_TimeoutFailureInfo{
				TimeoutFailureInfo: &failurepb.TimeoutFailureInfo{TimeoutType: enumspb.TIMEOUT_TYPE_HEARTBEAT}}},
		),
	)
	got := waitingOf(t.Context(), nil, "q", all, now)
	want := []string{
		"close the ledger: its worker has stopped: it sent no heartbeat; attempt 2 has failed, next attempt at " +
			output.Moment(at),
		"render a batch: the page server is unavailable: 503; attempt 2 of 10 has failed, the next one runs",
		"send 8 batches: drop point mx refuses us: MAIL FROM was refused: 550 5.1.0; attempt 2 of 5 has failed, " +
			"next attempt at " + output.Moment(at),
	}
	for i, w := range got {
		if i >= len(want) || describe(w) != want[i] {
			t.Errorf("%d: %s", i, describe(w))
		}
	}
	if len(got) != len(want) || got[2].Count != 8 || !got[2].NextAttempt.Equal(at) {
		t.Errorf("%+v", got)
	}
}

func TestWorkThatOnlyChangesTheWorkerIsNoFailure(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var all []*workflowpb.PendingActivityInfo
	for _, kind := range []string{policy.WorkerStopping, policy.BatchTaken, policy.WorkerBusy, policy.NoDropPoint,
		policy.SlotsTaken} {
		all = append(
			all,
			pending(
				policy.SendBatch,
				scheduled,
				2,
				now.Add(-time.Second),
				now.Add(time.Second),
				typed(kind, "another is asked"),
			),
		)
	}
	if got := waitingOf(t.Context(), nil, "q", all, now); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestWorkThatNobodyTakesUpSaysWhetherThereIsAWorker(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the Temporal server may have to be built first")
	}
	c, err := client.Dial(client.Options{HostPort: servertest.Temporal(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	now := time.Now()
	long := now.Add(-time.Minute)
	is := func(want string, all ...*workflowpb.PendingActivityInfo) {
		t.Helper()
		got := waitingOf(t.Context(), c, "polled", all, now)
		if text := describeAll(got); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
	is(
		`render a batch: waits for a worker: none polls the task queue "polled-render"`,
		pending(policy.RenderBatch, scheduled, 1, long, time.Time{}, nil),
	)
	is("", pending(policy.RenderBatch, scheduled, 1, now, time.Time{}, nil))
	is(
		"",
		pending(policy.RenderBatch, scheduled, 1, long, time.Time{}, nil),
		pending(policy.RenderBatch, started, 1, long, time.Time{}, nil),
	)
	w := worker.New(c, "polled", worker.Options{})
	w.RegisterActivity(func() error { return nil })
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	for { // Temporal learns of a poller when it has asked
		d, err := c.DescribeTaskQueue(t.Context(), "polled", enumspb.TASK_QUEUE_TYPE_ACTIVITY)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Pollers) > 0 {
			break
		}
	}
	busy := `waits for a worker: the only worker that polls the task queue "polled" is busy`
	is(
		"send 2 batches: "+busy,
		pending(policy.SendBatch, scheduled, 1, long, time.Time{}, nil),
		pending(policy.SendBatch, scheduled, 1, long, time.Time{}, nil),
	)
	is(
		"send a batch: "+busy+"; the last one said: no drop point mx",
		pending(policy.SendBatch, scheduled, 9, long, now, typed(policy.NoDropPoint, "no drop point mx")),
	)
}

func TestEveryActivityHasWords(t *testing.T) {
	t.Parallel()
	for _, name := range policy.Names() {
		if activityWords[name][0] == "" {
			t.Errorf("nobody says what %s does", name)
		}
	}
}

func TestADropPointThatFailsIsWaitedForUntilItAcceptsMail(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC)
	got := waitingDropPoints([]workflows.DropPointStatus{
		{Name: "fine", InList: true, Attempts: 5},
		{Name: "was-bad", InList: true, Attempts: 5, LastFailure: "busy", Proven: true},
		{Name: "rests", InList: true, Attempts: 5, Failures: 2, Until: at, LastFailure: "busy"},
		{Name: "tries", InList: true, Attempts: 5, Failures: 2, LastFailure: "busy"},
		{Name: "trial", InList: true, Attempts: 5, Failures: 5, OnTrial: true, LastFailure: "busy"},
		{Name: "left", Attempts: 5, Failures: 5, Until: at, LastFailure: "gone"},
	})
	want := []Waiting{
		{
			Activity:    "SendBatch",
			What:        "send through drop point rests",
			Count:       1,
			Failure:     "busy",
			Attempt:     2,
			Of:          5,
			NextAttempt: at,
			dropPoint:   "rests",
		},
		{
			Activity:  "SendBatch",
			What:      "send through drop point tries",
			Count:     1,
			Failure:   "busy",
			Attempt:   2,
			Of:        5,
			Running:   true,
			dropPoint: "tries",
		},
		{
			Activity:  "SendBatch",
			What:      "send through drop point trial, on trial",
			Count:     1,
			Failure:   "busy",
			Attempt:   5,
			Of:        5,
			Running:   true,
			dropPoint: "trial",
		},
		{
			Activity:    "CheckDropPoint",
			What:        "probe drop point left",
			Count:       1,
			Failure:     "gone",
			Attempt:     5,
			Of:          5,
			NextAttempt: at,
			dropPoint:   "left",
		},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
