package temporalclient

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// heartbeats knows when Temporal has last answered a heartbeat of one attempt of an activity.
type heartbeats struct {
	begin    time.Time
	answered atomic.Int64 // the time of the last answer, in nanoseconds after begin
}

type heartbeatsKey struct{}

// WatchHeartbeats returns a context for an attempt of an activity. If the activity records its
// heartbeats with it, [Silence] knows their answers.
func WatchHeartbeats(ctx context.Context) context.Context {
	return context.WithValue(ctx, heartbeatsKey{}, &heartbeats{begin: time.Now()})
}

// Begun returns when the attempt began. ctx must come from [WatchHeartbeats].
func Begun(ctx context.Context) time.Time { return ctx.Value(heartbeatsKey{}).(*heartbeats).begin }

// Silence returns the time since Temporal last answered a heartbeat of the attempt, or since the
// attempt began. ctx must come from [WatchHeartbeats].
func Silence(ctx context.Context) time.Duration {
	h := ctx.Value(heartbeatsKey{}).(*heartbeats)
	return time.Since(h.begin) - time.Duration(h.answered.Load())
}

// TolerateSilence returns an option of the connection. With it, activities go on when a heartbeat
// gets no answer. Without it, the SDK cancels an activity as soon as one heartbeat is not answered
// for a second, and nothing in the activity can tell that from a cancellation. An answer about the
// activity still cancels it: that it is cancelled, paused, or not known any more.
func TolerateSilence(log *slog.Logger) grpc.DialOption {
	var silent atomic.Bool
	// gRPC calls this interceptor before those of the SDK, so it sees the result of all attempts.
	return grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any,
		conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, method, request, reply, conn, options...)
		if method != workflowservice.WorkflowService_RecordActivityTaskHeartbeat_FullMethodName {
			return err
		}
		if !answered(err) {
			// The SDK sends the last heartbeat of a cancelled attempt with the context that has ended.
			if !errors.Is(ctx.Err(), context.Canceled) && silent.CompareAndSwap(false, true) {
				log.Warn("Temporal does not answer a heartbeat: the activity goes on", "error", err)
			}
			return nil
		}
		if silent.CompareAndSwap(true, false) {
			log.Info("Temporal answers heartbeats again")
		}
		if h, ok := ctx.Value(heartbeatsKey{}).(*heartbeats); ok {
			h.answered.Store(int64(time.Since(h.begin)))
		}
		return err
	})
}

// answered reports whether the error of a heartbeat, or nil, is an answer about the activity, or a
// refusal of this worker. The other errors are those of a server that is unavailable, overloaded or
// restarting: they do not say whether the activity is still wanted.
func answered(err error) bool {
	switch serviceerror.ToStatus(err).Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Canceled,
		codes.Internal, codes.Unknown:
		return false
	}
	return true
}
