package activities

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"directmailer/internal/delivery/rate"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// A workflow waits by Temporal's clock. A worker whose clock is behind must not name a time that is
// over there, and one whose clock is ahead must not make the workflow wait for longer.
func TestATimeForTheWorkflowIsByTheClockOfTemporal(t *testing.T) {
	t.Parallel()
	here := time.Now()
	at := here.Add(time.Minute)
	for skew, want := range map[time.Duration]time.Time{
		0: at, 50 * time.Millisecond: at, -50 * time.Millisecond: at, // on its way to the worker
		time.Hour: at.Add(time.Hour), -time.Hour: at.Add(-time.Hour),
	} {
		if got := byOtherClock(at, here.Add(skew), here); !got.Equal(want) {
			t.Errorf("with a difference of %v: got %v, want %v", skew, got, want)
		}
		if got := byOtherClock(time.Time{}, here.Add(skew), here); !got.IsZero() {
			t.Errorf("no time becomes %v", got)
		}
	}
}

// An hour is between the clocks. The rate lets the next message go tomorrow, but a batch rests for
// a minute at most, because the rate may change.
func TestABatchRestsByTheClockOfTemporal(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	m, err := d.a.mailing(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	daily := rate.Rate{Count: 1, Per: 24 * time.Hour}
	if err := d.a.pacer.Set(t.Context(), ratelimit.OfMailing(m.Key), daily); err != nil {
		t.Fatal(err)
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerStopChannel(d.stop)
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&otherClock{ahead: time.Hour}}})
	env.RegisterActivityWithOptions(d.a.SendBatch, activity.RegisterOptions{Name: policy.SendBatch})
	before := time.Now()
	v, err := env.ExecuteActivity(policy.SendBatch, sendCall(workflows.Resend, "mx"))
	after := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	var out workflows.SentBatch
	if err := v.Get(&out); err != nil {
		t.Fatal(err)
	}
	if earliest, latest := before.Add(time.Hour/2), after.Add(time.Hour+maxRest); out.Closed ||
		out.NotBefore.Before(earliest) || out.NotBefore.After(latest) {
		t.Errorf("the batch rests until %v, want a time from %v to %v: %+v", out.NotBefore, earliest, latest, out)
	}
}

// otherClock has Temporal's clock show a later time than that of the worker.
type otherClock struct {
	interceptor.WorkerInterceptorBase
	ahead time.Duration
}

func (o *otherClock) InterceptActivity(
	_ context.Context, next interceptor.ActivityInboundInterceptor,
) interceptor.ActivityInboundInterceptor {
	in := &otherClockInbound{ahead: o.ahead}
	in.Next = next
	return in
}

type otherClockInbound struct {
	interceptor.ActivityInboundInterceptorBase
	ahead time.Duration
}

func (i *otherClockInbound) Init(outbound interceptor.ActivityOutboundInterceptor) error {
	out := &otherClockOutbound{ahead: i.ahead}
	out.Next = outbound
	return i.Next.Init(out)
}

type otherClockOutbound struct {
	interceptor.ActivityOutboundInterceptorBase
	ahead time.Duration
}

func (o *otherClockOutbound) GetInfo(ctx context.Context) activity.Info {
	info := o.Next.GetInfo(ctx)
	info.StartedTime = info.StartedTime.Add(o.ahead)
	return info
}
