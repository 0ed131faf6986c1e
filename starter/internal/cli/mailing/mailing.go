// Package mailing holds the commands of mailings that were started: ls and show (show.go), watch,
// pause, resume and cancel (control.go), close, and report.
package mailing

import (
	"github.com/spf13/cobra"

	"directmailer/starter/internal/cli/command"
)

// app makes the commands.
type app struct{ command.App }

// Commands returns the commands in the order of the help.
func Commands(shared command.App) []*cobra.Command {
	a := &app{shared}
	return []*cobra.Command{
		a.lsCommand(), a.showCommand(), a.watchCommand(), a.pauseCommand(), a.resumeCommand(), a.cancelCommand(),
		a.closeCommand(), a.reportCommand(),
	}
}
