package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/config"
)

func (a *app) devCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: PostgreSQL, Temporal with its Web UI, a worker",
		Long: `Runs a private PostgreSQL, a private Temporal with its Web UI, and a worker that hands mail to a drop directory, until
Ctrl-C. The data is kept in a folder, so the next time goes on where this one ended. It prints the variables that other
shells need.

A DATABASE_URL, TEMPORAL_ADDRESS or DM_DROP_POINTS that is set already is used instead.`,
		Example: "  starter dev\n  starter dev --data ./data",
		Args:    wants(),
	}
	cmd.Flags().StringVar(&dir, "data", "", "the folder for all data (default: direct-mailer/dev below the user's data folder)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.dev(cmd.Context(), dir) }
	return cmd
}

func (a *app) dev(ctx context.Context, dir string) error {
	dir, err := absolute(dir, "dev")
	if err != nil {
		return err
	}
	s, err := a.startStack(ctx, dir, true)
	defer func() {
		s.stop(ctx)
		a.say("stopped; the data is in %s", dir)
	}()
	if err != nil {
		return err
	}
	if os.Getenv("DM_DROP_POINTS") == "" {
		mail := filepath.Join(dir, "mail")
		if err := useDropDirectory("drop", mail); err != nil {
			return err
		}
		s.exports = append(s.exports, "DM_DROP_POINTS")
	}
	c, err := config.LoadWorker()
	if err != nil {
		return failf(BadInput, "%w", err)
	}
	s.work(ctx, c, a.Err)
	a.printAddresses(s)
	select {
	case <-ctx.Done():
		return nil // the normal end
	case err := <-s.worker:
		s.worker <- nil
		return fmt.Errorf("the worker has ended: %w", err)
	}
}

// absolute returns the folder as an absolute path, the default one for the purpose if there is none.
func absolute(dir, purpose string) (string, error) {
	if dir == "" {
		return dataFolder(purpose)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fileFailure(err)
	}
	return abs, nil
}

// useDropDirectory makes a drop directory the only drop point of this process.
func useDropDirectory(name, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fileFailure(err)
	}
	return os.Setenv("DM_DROP_POINTS", name+"=dir:"+(&url.URL{Path: dir}).EscapedPath())
}

// printAddresses says where everything is, and what another shell needs to use it.
func (a *app) printAddresses(s *stack) {
	if s.ui != "" {
		fmt.Fprintf(a.Out, "\nWeb UI: %s\n", s.ui)
	}
	if len(s.exports) > 0 {
		fmt.Fprintln(a.Out, "\nFor another shell:")
	}
	for _, name := range s.exports {
		fmt.Fprintf(a.Out, "  export %s=%s\n", name, shellQuoted(os.Getenv(name)))
	}
	fmt.Fprintln(a.Out, "\nCtrl-C stops everything; nothing is lost.")
}

func shellQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
