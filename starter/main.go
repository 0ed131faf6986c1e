// Command starter is Direct Mailer's command line: see `starter --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"directmailer/starter/internal/cli"
	"directmailer/starter/internal/cli/command"
)

func main() {
	// SIGHUP as well: a terminal that is closed must not leave servers of `dev` and `demo` behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := cli.Run(ctx, os.Args[1:], command.Standard(ctx))
	stop()
	os.Exit(int(code))
}
