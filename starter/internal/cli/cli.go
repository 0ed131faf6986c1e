// Package cli holds the commands of the program starter: one file a command or a family of them, exit codes in exit.go.
//
// What a command answers goes to the standard output, everything else (progress, warnings, rejected rows, errors) to the standard
// error. Nothing that a command prints holds a credential, and errors hold no address.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/config"
)

// Streams are the program's standard input, output and error.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run executes the command line args (without the program's name) and returns the exit code. Cancelling ctx interrupts it: whatever
// was started is stopped in order first.
func Run(ctx context.Context, args []string, s Streams) Code {
	a := &app{Streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return Done
	}
	code := codeOf(err)
	if ctx.Err() != nil && code != Interrupted {
		err, code = errors.New("interrupted"), Interrupted
	}
	fmt.Fprintln(s.Err, "starter: "+textOf(err))
	return code
}

// app is what the commands share.
type app struct{ Streams }

const about = `Starts mailings, watches them, and accounts for every recipient.

The database is named by DATABASE_URL (postgres://user:password@host:5432/database), Temporal by TEMPORAL_ADDRESS,
TEMPORAL_NAMESPACE and the other variables of Temporal's client profiles, the workers' task queue by DM_TASK_QUEUE
(default: direct-mailer). Neither is ever given on the command line, where everybody on the machine could read it.`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "starter",
		Short: "Direct Mailer's command line",
		Long:  about + "\n\nExit codes:\n" + explainCodes(),
		Example: `  starter demo                                  see it work: private servers, 2,000 recipients, a drop directory
  starter migrate                               make the database ready
  starter list import customers customers.csv   store a list
  starter preview -f newsletter.yaml            see the message before anybody else does
  starter start -f newsletter.yaml --watch      send it`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w: see `%s --help`", err, cmd.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(&cobra.Group{ID: "mail", Title: "Mailings:"}, &cobra.Group{ID: "people", Title: "Lists and opt-outs:"}, &cobra.Group{ID: "run", Title: "Operation:"})
	family(root)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("mail", a.startCommand(), a.watchCommand(), a.showCommand(), a.lsCommand(), a.pauseCommand(), a.resumeCommand(), a.cancelCommand(), a.closeCommand(), a.resolveCommand(), a.rateCommand(),
		a.reportCommand(), a.previewCommand())
	add("people", a.listCommand(), a.optoutCommand())
	add("run", a.checkCommand(), a.migrateCommand(), a.devCommand(), a.demoCommand(), a.versionCommand())
	root.SetHelpCommandGroupID("run")
	root.SetCompletionCommandGroupID("run")
	return root
}

func explainCodes() string {
	var b strings.Builder
	for _, c := range codes {
		fmt.Fprintf(&b, "  %3d  %s\n", c.code, c.meaning)
	}
	return b.String()
}

// family makes a command that only has others below it: by itself it shows its help, and what it does not know is bad usage.
func family(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "see `" + cmd.CommandPath() + " --help`"
		cmd.SuggestionsMinimumDistance = 2
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
		}
		return usage("%q is not a command: %s", args[0], hint)
	}
	return cmd
}

// wants checks the number of arguments, which are named for the message.
func wants(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usage("%s is missing: %s", names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return usage("%q is one argument too many: %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// settings reads the environment.
func settings() (config.Starter, error) {
	c, err := config.LoadStarter()
	if err != nil {
		return c, failf(BadInput, "%w", err)
	}
	return c, nil
}

// say tells the user, on the standard error, what is not an answer.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.Err, format+"\n", args...)
}
