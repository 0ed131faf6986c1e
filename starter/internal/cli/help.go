package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"directmailer/internal/config"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// flagError words the errors of the flag parser, which has the words of Go's strconv.
func flagError(cmd *cobra.Command, err error) error {
	see := "see `" + cmd.CommandPath() + " --help`"
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return exit.Usagef("unknown flag -%s: %s", output.Typed(unknown.GetSpecifiedName()), see)
	case errors.As(err, &unknown):
		if near := nearFlag(cmd, unknown.GetSpecifiedName()); near != "" {
			see = "did you mean --" + near + "?"
		}
		return exit.Usagef("unknown flag --%s: %s", output.Typed(unknown.GetSpecifiedName()), see)
	case errors.As(err, &missing):
		return exit.Usagef("--%s needs a value: %s", missing.GetFlag().Name, see)
	case errors.As(err, &invalid):
		return exit.Usagef(
			"--%s: %q is not %s: %s",
			invalid.GetFlag().Name,
			output.Typed(invalid.GetValue()),
			kindOf(invalid.GetFlag()),
			see,
		)
	case errors.As(err, &syntax):
		return exit.Usagef("%q is not a flag: %s", output.Typed(syntax.GetSpecifiedFlag()), see)
	}
	return exit.Usagef("%w: %s", err, see)
}

// kindOf says what a flag takes.
func kindOf(f *pflag.Flag) string {
	switch v := f.Value.(type) {
	case *output.Format:
		return output.OneOf(v.Allowed)
	case *output.Choice:
		return output.OneOf(v.Allowed)
	}
	switch f.Value.Type() {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 30s"
	}
	return "a valid value"
}

// renamed are the flags of other programs that mean a flag of ours.
var renamed = map[string]string{"format": "output", "out": "output-file", "outcomes": "outcome", "force": "yes"}

// nearFlag returns the flag that an unknown name probably means, or "".
func nearFlag(cmd *cobra.Command, name string) string {
	if f := cmd.Flags().Lookup(renamed[name]); f != nil {
		return f.Name
	}
	near := ""
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if near == "" && !f.Hidden && (strings.HasPrefix(f.Name, name) || edits(name, f.Name) <= 2) {
			near = f.Name
		}
	})
	return near
}

// edits is the Levenshtein distance of two names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// helpCommand is cobra's, except that an unknown topic is bad usage.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND | TOPIC]",
		Short:   "Explain a command or a topic",
		Long:    "Explains a command, or one of the topics that `starter --help` lists at its end.",
		Example: "  starter help list import\n  starter help exit-codes",
		ValidArgsFunction: func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			cmd, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var found []string
			for _, sub := range cmd.Commands() {
				if (sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand()) &&
					strings.HasPrefix(sub.Name(), typed) {
					found = append(found, sub.Name()+"\t"+sub.Short)
				}
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			cmd, rest, err := c.Root().Find(args)
			if err != nil || cmd == nil {
				return command.UnknownCommand(c.Root(), args[0])
			}
			if len(rest) > 0 && cmd.HasSubCommands() {
				return command.UnknownCommand(cmd, rest[0])
			}
			if len(rest) > 0 {
				return exit.Usagef("`%s` has no subcommands: see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			cmd.InitDefaultHelpFlag()
			cmd.InitDefaultVersionFlag()
			return cmd.Help()
		},
	}
}

// addCompletion adds cobra's command for completion scripts, with our errors.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		command.Group(cmd)
		cmd.Short = "Print the completion script of a shell"
		cmd.Long = `Prints a script that completes commands, flags, list names and mailing IDs. See the help of your
shell's subcommand for how to load it.`
		cmd.Example = "  # complete in this bash, from now on\n  source <(starter completion bash)"
		for _, shell := range cmd.Commands() {
			shell.Args = command.Needs()
			shell.Short = "Print the completion script for " + shell.Name()
			shell.Example = "  starter completion " + shell.Name()
		}
	}
}

// helpTopics are pages of help that belong to no command.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "environment", Short: "Explain the environment variables", Long: explainEnvironment()},
		{Use: "exit-codes", Short: "Explain the exit codes", Long: explainCodes()},
		{Use: "output", Short: "Explain the formats and files that commands write", Long: explainOutput},
	}
}

func explainCodes() string {
	var b strings.Builder
	b.WriteString("A script can decide by the exit code of starter:\n\n")
	for _, c := range exit.Codes {
		fmt.Fprintf(&b, "  %3d  %s\n", c.Code, strings.ReplaceAll(c.Meaning, "\n", "\n       "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func explainEnvironment() string {
	return `starter reads its settings from the environment, because everybody on a machine can read a
command line.

` + config.Describe(config.Starter{}) + `
The worker has variables of its own: see ` + "`worker --help`" + `.`
}

const explainOutput = `--output, -o names a format, in every command that has it:

  table   for people (the default where there is a table)
  json    for programs: one JSON value, or one object a line where the command goes on (watch)
  csv     for spreadsheets (the default of report)

--output-file and --output-dir name where a command writes, instead of the standard output. A
file appears when it is complete, and only its owner may read it.

Answers go to the standard output. Progress, warnings and errors go to the standard error.`
