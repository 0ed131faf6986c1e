//go:build unix

package cli

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/config"
	"directmailer/starter/internal/cli/audience"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/mailing"
	"directmailer/starter/internal/cli/start"
	"directmailer/starter/internal/dev"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
)

func (a *app) devCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run private servers and a worker, for development",
		Long: `Runs a private PostgreSQL, a private Temporal with its Web UI, and a worker that writes mail
into a drop directory, until Ctrl-C. It keeps the data in a folder, and continues there the next
time. It prints the variables that other shells need.

It uses a DATABASE_URL, TEMPORAL_ADDRESS, DM_DROP_POINTS or DM_PUBLIC_URL that is set already.
Otherwise unsubscribe links lead to the worker itself, and work on this machine. Without a
` + "`temporal`" + ` on PATH it builds Temporal's server once, which takes some minutes.`,
		Example: "  starter dev\n  starter dev --data ./data",
		Args:    command.Needs(),
	}
	cmd.Flags().
		StringVar(&dir, "data", "", "folder for all data (default: direct-mailer/dev in the user's data folder)")
	_ = cmd.MarkFlagDirname("data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.dev(cmd.Context(), dir) }
	return cmd
}

func (a *app) dev(ctx context.Context, dir string) error {
	dir, err := dev.Folder(dir, "dev")
	if err != nil {
		return err
	}
	s, err := dev.Start(ctx, dev.Options{Dir: dir, FixedPorts: true, Say: a.Say, Err: a.Err})
	defer func() {
		s.Stop(ctx)
		a.Say("stopped; the data is in %s", dir)
	}()
	if err != nil {
		return err
	}
	if config.Getenv("DM_DROP_POINTS") == "" {
		if err := s.UseDropDirectory(filepath.Join(dir, "mail")); err != nil {
			return err
		}
	}
	if os.Getenv("DM_PUBLIC_URL") == "" && config.Getenv("DM_TOKEN_KEYS") == "" {
		if err := s.UsePublicPages(dev.PublicPort); err != nil {
			return err
		}
	}
	c, err := config.LoadWorker()
	if err != nil {
		return exit.With(exit.BadInput, err)
	}
	s.Work(ctx, c, a.Err)
	s.PrintAddresses(a.Out)
	return s.Wait(ctx) // Ctrl-C is the normal end
}

func (a *app) demoCommand() *cobra.Command {
	var dir string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a sample mailing to 2,000 recipients, into a drop directory",
		Long: `Runs a private PostgreSQL, a private Temporal and a worker, imports the sample list, and sends
the sample newsletter into a drop directory, one .eml file a message. No mail leaves this
machine. It shows the progress, the closed ledger, where the messages are, and one of them.

It uses a DATABASE_URL or a TEMPORAL_ADDRESS that is set already. Without a ` + "`temporal`" + `
on PATH it builds Temporal's server once, which takes some minutes.

When the demo is interrupted, it stops everything and keeps the data. With --data and that
folder the mailing continues.`,
		Example: `  starter demo

  # keep everything running until Ctrl-C, with the Web UI
  starter demo --keep

  starter demo --output json`,
		Args: command.Needs(),
	}
	cmd.Flags().StringVar(&dir, "data", "", "folder for data and messages (default: a new temporary one)")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep everything running until Ctrl-C")
	_ = cmd.MarkFlagDirname("data")
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out := a.Out
		if format.JSON() { // the answer is the last line; what people read goes to the standard error
			out = a.Err
		}
		app := command.App{Streams: command.Streams{In: a.In, Out: out, Err: a.Err, Asks: a.Asks}}
		d := dev.Demo{Commands: &demoCommands{app: app}, Dir: dir, Keep: keep, Out: out, Say: app.Say, Err: a.Err}
		return d.Run(cmd.Context(), func(r dev.Result, v status.Status) error {
			if format.JSON() {
				if err := output.WriteLine(a.Out, r); err != nil {
					return err
				}
			}
			return mailing.EndError(v)
		})
	}
	return cmd
}

// demoCommands are the commands that the demo uses.
type demoCommands struct{ app command.App }

func (d *demoCommands) Interrupted(ctx context.Context) string {
	s, err := command.OpenStore(ctx)
	if err != nil {
		return ""
	}
	defer s.Close()
	if latest, err := mailing.Latest(ctx, d.app, s, "", 1); err == nil && len(latest) > 0 && !latest[0].Ended() {
		return latest[0].ID
	}
	return ""
}

func (d *demoCommands) Send(ctx context.Context, file, id, prefix string) error {
	return start.File(ctx, d.app, file, id, prefix)
}

func (d *demoCommands) OptOut(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return command.FileFailure(err)
	}
	defer f.Close()
	keys, _, err := audience.ScanAddresses(d.app, output.Base(file), f)
	if err != nil {
		return err
	}
	s, err := command.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.OptOuts.Add(ctx, audience.Requests(keys, optouts.Request{}))
	return err
}

func (d *demoCommands) Follow(ctx context.Context, id string) (status.Status, error) {
	s, err := command.OpenStore(ctx)
	if err != nil {
		return status.Status{}, err
	}
	defer s.Close()
	display := status.NewDisplay(d.app.Out)
	v, err := s.Status.Follow(ctx, command.TryDial, id, display)
	display.End(v)
	return v, err
}
