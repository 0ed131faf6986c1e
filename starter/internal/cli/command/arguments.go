package command

import (
	"strings"

	"github.com/spf13/cobra"

	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

// Group makes a command that only has subcommands. Without an argument it shows its help. A word
// that is not a subcommand is bad usage.
func Group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return UnknownCommand(cmd, args[0])
	}
	return cmd
}

// UnknownCommand says that a group has no such subcommand, and which one is probably meant.
func UnknownCommand(cmd *cobra.Command, name string) error {
	hint := "see `" + cmd.CommandPath() + " --help`"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = "did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
	} else if cmd.Name() == "list" {
		hint += "; `starter mailing ls` lists mailings"
	}
	return exit.Usagef("%q is not a command: %s", output.Typed(name), hint)
}

// Needs checks the number of arguments. It takes their names for the message.
func Needs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return exit.Usagef("%s is missing: %s", names[len(args)], UsageLine(cmd))
		case len(args) > len(names):
			return exit.Usagef("unexpected argument %q: %s", output.Typed(args[len(names)]), UsageLine(cmd))
		}
		return nil
	}
}

// NeedsMailing checks that the only argument is a mailing's ID.
func NeedsMailing(cmd *cobra.Command, args []string) error {
	if err := Needs("the mailing's ID")(cmd, args); err != nil {
		return err
	}
	return CheckID(args[0])
}

// UsageLine is the usage of the command in one line.
func UsageLine(cmd *cobra.Command) string {
	return "usage: " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
}

// CheckID refuses what cannot be a mailing's ID.
func CheckID(id string) error {
	for _, p := range (workflows.Input{ID: id}).Validate() {
		if id == "" || p.Field == "id" {
			return exit.Usagef(
				"%q is not a valid mailing ID: it must be up to 100 letters and digits, with single . _ or - between them",
				output.Typed(id),
			)
		}
	}
	return nil
}
