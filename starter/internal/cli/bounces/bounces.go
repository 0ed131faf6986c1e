// Package bounces holds the commands of what came back: import, and ls and show of what nobody
// could read.
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
		Use:     "bounces",
		Aliases: []string{"bounce"},
		Short:   "Import and look at bounces, complaints and other reports",
		Long: `Imports and looks at what comes back about messages: bounces, complaints, automatic answers.
docs/bounces.md says what each class means.

What could be read is an event of its mailing: see ` + "`starter report ID --events`" + `.`,
		Example: "  starter bounces import --dry-run bounces.mbox\n  starter bounces ls\n  starter bounces show 12",
	})
	cmd.AddCommand(a.importCommand(), a.lsCommand(), a.showCommand())
	return cmd
}
