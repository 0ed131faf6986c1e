// Package audience holds the commands of the audience: list (list.go) and optout (optout.go).
package audience

import (
	"github.com/spf13/cobra"

	"directmailer/starter/internal/cli/command"
)

// app makes the commands.
type app struct{ command.App }

// Commands returns `starter list` and `starter optout`.
func Commands(shared command.App) []*cobra.Command {
	a := &app{shared}
	return []*cobra.Command{a.listCommand(), a.optoutCommand()}
}
