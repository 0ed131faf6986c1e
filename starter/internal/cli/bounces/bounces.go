// Package bounces holds the commands of what comes back: bounces import.
package bounces

import (
	"github.com/spf13/cobra"

	"directmailer/starter/internal/cli/command"
)

// app makes the commands.
type app struct{ command.App }

// Command returns `starter bounces`.
func Command(shared command.App) *cobra.Command {
	a := &app{shared}
	cmd := command.Group(&cobra.Command{
		Use:   "bounces",
		Short: "Import bounces and complaints",
		Long: `Imports what comes back: bounces, complaints and automatic answers. docs/bounces.md says what each
class means.`,
		Example: "  starter bounces import --dry-run bounces.mbox",
	})
	cmd.AddCommand(a.importCommand())
	return cmd
}
