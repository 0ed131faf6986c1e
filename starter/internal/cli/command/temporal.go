package command

import (
	"context"
	"io"
	"log/slog"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/exit"
)

// silent drops what the SDK logs.
var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// Dial connects to Temporal, or fails with the exit code for that.
func Dial(ctx context.Context) (*temporalclient.Client, error) {
	c, err := temporalclient.Dial(ctx, silent)
	if err != nil && CodeOf(err) != exit.BadInput {
		err = exit.With(exit.NoTemporal, err)
	}
	return c, err
}

// TryDial connects to Temporal for a command that can do without it. It does not wait for long.
func TryDial(ctx context.Context) (*temporalclient.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return Dial(ctx)
}

// Pollers counts the workers that asked a task queue for work of the kind in the last minutes, and
// returns when the last one did.
func Pollers(
	ctx context.Context,
	c client.Client,
	queue string,
	kind enumspb.TaskQueueType,
) (n int, last time.Time, err error) {
	d, err := c.DescribeTaskQueue(ctx, queue, kind)
	if err != nil {
		return 0, last, err
	}
	for _, p := range d.Pollers {
		if at := p.LastAccessTime.AsTime(); at.After(last) {
			last = at
		}
	}
	return len(d.Pollers), last, nil
}
