// Command worker renders and sends mailings until it is told to stop. `worker --help` lists the
// environment variables that it reads.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"directmailer/internal/buildinfo"
	"directmailer/internal/config"
	"directmailer/worker/process"
)

// The exit codes: the worker stopped as it was told to, it failed, or it was started wrongly.
const (
	exitStopped = 0
	exitFailed  = 1
	exitUsage   = 2
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(answer(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cfg, err := config.LoadWorker()
	if err != nil {
		complain(err)
		os.Exit(exitUsage)
	}
	log := process.NewLogger(os.Stderr, cfg)
	slog.SetDefault(log)
	if err := process.Run(ctx, cfg, log); err != nil && ctx.Err() == nil {
		complain(err)
		os.Exit(exitFailed)
	}
}

// complain writes an error, which can join several, with one line for each.
func complain(err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(os.Stderr, "worker:", strings.TrimSuffix(line, "\n"))
	}
}

const help = `Renders and sends mailings until it is told to stop (SIGINT or SIGTERM). It then finishes the
messages in flight.

Usage:
  worker

Flags:
  -h, --help      print this help
      --version   print which build this is

Environment variables:
`

// answer handles the command line. A worker only takes settings from its environment.
func answer(args []string) (code int) {
	switch args[0] {
	case "-h", "--help", "help":
		fmt.Print(help + config.Describe(config.Worker{}))
		return exitStopped
	case "--version", "version":
		fmt.Println(buildinfo.Read())
		return exitStopped
	}
	fmt.Fprintf(
		os.Stderr,
		"worker: unexpected argument %q: settings are environment variables, see `worker --help`\n",
		args[0],
	)
	return exitUsage
}
