// Package cli is the tree of the commands of the program starter, and holds those for operators:
// check, migrate, dev, demo, help and completion. The others are in packages of their own, a file
// for each command: start, mailing, audience, bounces, rates and signing. Package command has what
// they share.
//
// A command writes its answer to the standard output. It writes everything else (progress,
// warnings, rejected rows, errors) to the standard error. Nothing that a command prints holds a
// credential, and errors hold no address.
package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"directmailer/internal/buildinfo"
	"directmailer/starter/internal/cli/audience"
	"directmailer/starter/internal/cli/bounces"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/mailing"
	"directmailer/starter/internal/cli/rates"
	"directmailer/starter/internal/cli/signing"
	"directmailer/starter/internal/cli/start"
	"directmailer/starter/internal/exit"
)

// Run executes the command line args (without the program's name) and returns the exit code.
// Cancelling ctx interrupts the command, which first stops what it has started.
func Run(ctx context.Context, args []string, s command.Streams) exit.Code {
	a := &app{command.App{Streams: s}}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.Done
	}
	code := command.CodeOf(err)
	if ctx.Err() != nil && code != exit.Interrupted {
		err, code = errors.New("interrupted"), exit.Interrupted
	}
	fmt.Fprintln(s.Err, "starter: "+command.TextOf(err))
	return code
}

// Documented returns the commands for the reference in docs/cli: the short forms of `starter
// mailing` are left out, because the reference has them under their full names.
func Documented() *cobra.Command {
	a := &app{}
	root := a.newRoot()
	a.addCommands(root)
	return root
}

// app makes the commands.
type app struct{ command.App }

const (
	groupMailings = "mailings"
	groupAudience = "audience"
	groupRun      = "run"
)

// root returns the whole command tree.
func (a *app) root() *cobra.Command {
	root := a.newRoot()
	for _, short := range a.mailingCommands() {
		short.GroupID = groupMailings
		short.Aliases = nil // `starter list` manages lists of recipients
		root.AddCommand(short)
	}
	a.addCommands(root)
	return root
}

func (a *app) newRoot() *cobra.Command {
	root := command.Group(&cobra.Command{
		Use:   "starter",
		Short: "Start mailings, watch them, and account for every recipient",
		Long: `Starts mailings, watches them, and accounts for every recipient.

The commands of a mailing have a full and a short form: ` + "`starter show`" + ` is short for
` + "`starter mailing show`" + `.

DATABASE_URL names the PostgreSQL database, TEMPORAL_ADDRESS the Temporal server. See
` + "`starter help environment`" + ` for these and all other variables, and
` + "`starter help exit-codes`" + ` for what the exit codes mean.`,
		Example: `  # see it work: private servers, 2,000 recipients, a drop directory
  starter demo

  # create or update the database's tables
  starter migrate

  # store a list
  starter list import customers customers.csv

  # see the message before anybody else does
  starter preview -f newsletter.yaml

  # send it
  starter start -f newsletter.yaml --watch`,
		Version:       buildinfo.Read().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	})
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(
		&cobra.Group{ID: groupMailings, Title: "Mailings (short for `starter mailing …`):"},
		&cobra.Group{ID: groupAudience, Title: "Lists, opt-outs, bounces and rate limits:"},
		&cobra.Group{ID: groupRun, Title: "Operation:"})
	return root
}

// addCommands adds all commands except the short forms.
func (a *app) addCommands(root *cobra.Command) {
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupMailings, a.mailingCommand())
	add(groupAudience, append(audience.Commands(a.App), bounces.Command(a.App), rates.Command(a.App))...)
	add(groupRun, a.checkCommand(), signing.Command(a.App), a.migrateCommand(), a.devCommand(), a.demoCommand(),
		a.versionCommand())
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID(groupRun)
	root.SetCompletionCommandGroupID(groupRun)
	addCompletion(root)
	root.AddCommand(helpTopics()...)
}

func (a *app) mailingCommand() *cobra.Command {
	cmd := command.Group(&cobra.Command{
		Use:     "mailing",
		Aliases: []string{"mailings"},
		Short:   "Manage mailings: all commands of a mailing, under their full names",
		Long: `Manages mailings. Each of these commands has a short form without the word mailing:
` + "`starter show`" + ` is short for ` + "`starter mailing show`" + `.`,
		Example: `  starter mailing ls
  starter mailing show newsletter-2026-11`,
	})
	cmd.AddCommand(a.mailingCommands()...)
	return cmd
}

// mailingCommands returns the commands of a mailing. Each call makes new ones, for `starter
// mailing` and for the short forms.
func (a *app) mailingCommands() []*cobra.Command {
	return append(start.Commands(a.App), mailing.Commands(a.App)...)
}
