package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"directmailer/internal/buildinfo"
	"directmailer/internal/database"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

func (a *app) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Update the database's schema, and register search attributes with Temporal",
		Long: `Updates the database's schema, and registers the mailings' search attributes with Temporal. It
can be repeated. While Temporal does not answer, the command leaves the search attributes to the
first worker that connects. If Temporal does not let the command register them, it warns, and
mailings go on without them.`,
		Example: "  DATABASE_URL=postgres://user:password@127.0.0.1:5432/mail starter migrate",
		Args:    command.Needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := command.Settings()
			if err != nil {
				return err
			}
			return a.migrate(cmd.Context(), c.DatabaseURL)
		},
	}
}

func (a *app) migrate(ctx context.Context, url string) error {
	if err := command.NeedDatabaseURL(url); err != nil {
		return err
	}
	before, after, err := database.Migrate(ctx, url)
	if err != nil {
		return exit.With(exit.NoDatabase, err)
	}
	if before == after {
		fmt.Fprintf(a.Out, "database: version %d, nothing to do\n", after)
	} else {
		fmt.Fprintf(a.Out, "database: updated from version %d to %d\n", before, after)
	}
	temporal, err := command.Dial(ctx)
	if err != nil {
		a.Say("starter: warning: %s; the first worker that connects registers the search attributes", command.TextOf(err))
		return ctx.Err()
	}
	defer temporal.Close()
	pool, err := command.OpenPool(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	found, err := temporal.RegisterSearchAttributes(ctx, pool)
	if err != nil {
		return command.TemporalFailure("register search attributes", err)
	}
	if found.Warning != "" {
		a.Say("starter: warning: %s", output.Clean(found.Warning))
		return nil
	}
	fmt.Fprintf(a.Out, "Temporal: search attributes are registered in namespace %s\n", temporal.Namespace)
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print which build this is",
		Example: "  starter version\n  starter version --output json",
		Args:    command.Needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		build := buildinfo.Read()
		if format.JSON() {
			return output.WriteJSON(a.Out, build)
		}
		fmt.Fprintln(a.Out, build)
		return nil
	}
	return cmd
}
