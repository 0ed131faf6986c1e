// Command prepare makes sure that tests find PostgreSQL and Temporal, showing what it does: `go test` hides what a passing package says,
// and the first build of the Temporal server takes minutes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"directmailer/internal/dev/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := prepare(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
}

// prepare installs and builds also what DATABASE_URL and TEMPORAL_ADDRESS replace: some tests kill servers, and want their own.
func prepare(ctx context.Context) error {
	progress := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	if err := servers.InstallPostgres(ctx, os.Stdout, progress); err != nil {
		return err
	}
	temporal, err := servers.TemporalBinary(ctx, progress)
	if err != nil {
		return err
	}
	progress("PostgreSQL is installed; the Temporal server is %s", temporal)
	return nil
}
