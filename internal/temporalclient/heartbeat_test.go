package temporalclient_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/temporalclient"
)

func TestOnlyAnswersAboutTheActivityAndRefusalsAreAnswers(t *testing.T) {
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		want := false
		switch code {
		case codes.OK, codes.NotFound, codes.FailedPrecondition, codes.InvalidArgument, codes.AlreadyExists,
			codes.OutOfRange, codes.Unimplemented, codes.DataLoss, codes.PermissionDenied, codes.Unauthenticated:
			want = true
		}
		if got := temporalclient.Answered(serviceerror.FromStatus(status.New(code, "x"))); got != want {
			t.Errorf("%v is an answer: %v, want %v", code, got, want)
		}
	}
	for _, err := range []error{context.DeadlineExceeded, context.Canceled, errors.New("x")} {
		if temporalclient.Answered(err) {
			t.Errorf("%v is taken for an answer", err)
		}
	}
}

// The SDK cancels an activity when its heartbeat has an error.
func TestAHeartbeatWithoutAnAnswerHasNoErrorAndCountsAsSilence(t *testing.T) {
	address := servertest.Temporal(t)
	beat := func(ctx context.Context, code codes.Code) error {
		t.Helper()
		c, err := dial(t, servertest.DenyingTemporal(t, address, code, "RecordActivityTaskHeartbeat"), "default")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return c.RecordActivityHeartbeat(ctx, []byte("token"))
	}
	ctx, began := temporalclient.WatchHeartbeats(t.Context()), time.Now()
	if err := beat(ctx, codes.Unavailable); err != nil {
		t.Errorf("without an answer: %v", err)
	}
	least := time.Since(began)
	if silence := temporalclient.Silence(ctx); silence < least {
		t.Errorf("without an answer: a silence of %v, want %v or more", silence, least)
	}
	before := time.Now()
	if err := beat(ctx, codes.NotFound); !errors.As(err, new(*serviceerror.NotFound)) {
		t.Errorf("an unknown activity: %v", err)
	}
	silence := temporalclient.Silence(ctx)
	if most := time.Since(before); silence > most {
		t.Errorf("after an answer: a silence of %v, want %v at most", silence, most)
	}
}

// The SDK sends the last heartbeat of an attempt that was cancelled with a context that has ended.
func TestAHeartbeatOfACancelledAttemptIsNoSilence(t *testing.T) {
	address := servertest.Temporal(t)
	log := make(lines, 100)
	t.Setenv("TEMPORAL_CONFIG_FILE", t.TempDir()+"/none.toml")
	t.Setenv("TEMPORAL_ADDRESS", address)
	c, err := temporalclient.Dial(t.Context(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.RecordActivityHeartbeat(ctx, []byte("token")); err != nil {
		t.Error(err)
	}
	for len(log) > 0 {
		if line := <-log; strings.Contains(line, "heartbeat") {
			t.Errorf("the log says: %s", line)
		}
	}
}

// lines are what a log has written.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
	default:
	}
	return len(line), nil
}
