// Package start holds the commands that send: start, with its dry run and --continue, preview,
// test, and resolve, which may send again.
package start

import (
	"context"

	"github.com/spf13/cobra"

	"directmailer/starter/internal/cli/command"
)

// app makes the commands.
type app struct{ command.App }

// Commands returns `starter start`, `starter preview`, `starter test` and `starter resolve`.
func Commands(shared command.App) []*cobra.Command {
	a := &app{shared}
	return []*cobra.Command{a.startCommand(), a.previewCommand(), a.testCommand(), a.resolveCommand()}
}

// File starts the mailing of a file, to the list that the file names, with a prefix. It prints what
// the command prints on the standard error.
func File(ctx context.Context, shared command.App, file, id, prefix string) error {
	a := &app{shared}
	p, err := a.readMailing(ctx, file, id)
	if err != nil {
		return err
	}
	p.in.List = prefix + p.in.List
	s, err := command.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = a.start(ctx, s, p, startOptions{})
	return err
}
