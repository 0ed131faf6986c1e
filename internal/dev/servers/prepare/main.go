// Command prepare installs PostgreSQL, PgBouncer, Postfix, Dovecot and dkimpy and builds Temporal
// for the tests if need be, and shows its progress. `go test` hides the output of a package that
// passes, and the first build of the Temporal server takes minutes.
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

// prepare also does this if DATABASE_URL and TEMPORAL_ADDRESS name servers: some tests kill servers
// and need their own.
func prepare(ctx context.Context) error {
	progress := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	if err := servers.InstallPostgres(ctx, os.Stdout, progress); err != nil {
		return err
	}
	if err := servers.InstallPgBouncer(ctx, os.Stdout, progress); err != nil {
		progress("SKIPPED, nothing is tested behind PgBouncer: %v", err)
	}
	if _, err := servers.InstallDkimpy(ctx, os.Stdout, progress); err != nil {
		progress("SKIPPED, signatures are not verified by dkimpy: %v", err)
	}
	if err := servers.InstallPostfix(ctx, os.Stdout, progress); err != nil {
		progress("SKIPPED, nothing is tested behind a Postfix: %v", err)
	}
	if err := servers.InstallDovecot(ctx, os.Stdout, progress); err != nil {
		progress("SKIPPED, nothing is tested with a real IMAP server: %v", err)
	}
	temporal, err := servers.TemporalBinary(ctx, progress)
	if err != nil {
		return err
	}
	progress("PostgreSQL is installed; the Temporal server is %s", temporal)
	return nil
}
