// Package command has what the commands of starter share: the program's streams, the database and
// Temporal, the check of arguments, completion, and the exit codes of errors.
package command

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"directmailer/internal/config"
	"directmailer/internal/stoppable"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// Streams are the program's standard input, output and error.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Asks     bool // In is a terminal, where somebody can answer a question
}

// Standard returns those of the process. Reading from In ends when ctx is done.
func Standard(ctx context.Context) Streams {
	return Streams{
		In: stoppable.Reader(ctx, os.Stdin), Out: os.Stdout, Err: os.Stderr, Asks: term.IsTerminal(int(os.Stdin.Fd())),
	}
}

// App is what the commands share.
type App struct{ Streams }

// Say tells the user, on the standard error, what is not an answer.
func (a App) Say(format string, args ...any) {
	fmt.Fprintf(a.Err, format+"\n", args...)
}

// Write lets do write the file, or the standard output if name is "" or "-". On the standard
// output, do does not wait for a slow reader.
func (a App) Write(ctx context.Context, name string, do func(io.Writer) error) error {
	if name == "" || name == "-" {
		return output.Ahead(ctx, a.Out, do)
	}
	return FileFailure(output.ToFile(name, do))
}

// AddYes gives a command the flag that answers its question.
func AddYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "answer yes to the question")
}

// Confirm asks a question whose answer must be yes. Without a terminal only --yes is an answer.
func (a App) Confirm(yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	question := fmt.Sprintf(format, args...)
	if !a.Asks {
		return exit.Usagef("%s Nothing was done: answer with --yes", question)
	}
	fmt.Fprint(a.Err, question+" [y/N] ")
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return exit.Errorf(exit.BadInput, "nothing was done")
}

// Settings reads the environment.
func Settings() (config.Starter, error) {
	c, err := config.LoadStarter()
	if err != nil {
		return c, exit.Errorf(exit.BadInput, "%w", err)
	}
	return c, nil
}
