// Command worker renders and sends mailings until it is told to stop. Its environment is described in README.md, "Run workers for real".
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"directmailer/internal/config"
	"directmailer/worker/process"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cfg, err := config.LoadWorker()
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(2)
	}
	log := process.NewLogger(os.Stderr, cfg)
	slog.SetDefault(log)
	if err := process.Run(ctx, cfg, log); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}
