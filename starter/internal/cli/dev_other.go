//go:build !unix

package cli

import (
	"github.com/spf13/cobra"

	"directmailer/starter/internal/exit"
)

func (a *app) devCommand() *cobra.Command {
	return needsUnix("dev", "Run private servers and a worker, for development")
}
func (a *app) demoCommand() *cobra.Command {
	return needsUnix("demo", "Run a sample mailing, into a drop directory")
}

// needsUnix is a command that this system cannot run.
func needsUnix(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short + " (not on this system)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return exit.Usagef("`%s` needs Linux or macOS: use it in WSL, or use docker compose", cmd.CommandPath())
		},
	}
}
