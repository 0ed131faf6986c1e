package cli

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"directmailer/internal/database"
)

func (a *app) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Make the database and Temporal ready",
		Long: `Brings the database's schema up to date, and makes the mailings' search attributes known to Temporal. Both may be
repeated. When Temporal is away, that part is left to the first worker that connects.`,
		Example: "  DATABASE_URL=postgres://… starter migrate",
		Args:    wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := settings()
			if err != nil {
				return err
			}
			return a.migrate(cmd.Context(), c.DatabaseURL)
		},
	}
}

func (a *app) migrate(ctx context.Context, url string) error {
	if err := wantDatabase(url); err != nil {
		return err
	}
	before, after, err := database.Migrate(ctx, url)
	if err != nil {
		return &failure{NoDatabase, err}
	}
	if before == after {
		fmt.Fprintf(a.Out, "database: version %d, nothing to do\n", after)
	} else {
		fmt.Fprintf(a.Out, "database: brought from version %d to %d\n", before, after)
	}
	temporal, err := dial(ctx)
	if err != nil {
		a.say("starter: warning: %s; search attributes are registered by the first worker that connects", textOf(err))
		return ctx.Err()
	}
	defer temporal.Close()
	if err := temporal.RegisterSearchAttributes(ctx); err != nil {
		return temporalFailure("register search attributes", err)
	}
	fmt.Fprintf(a.Out, "Temporal: search attributes are registered in namespace %s\n", temporal.Namespace)
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show which build this is",
		Example: "  starter version --output json",
		Args:    wants(),
	}
	output := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := buildVersion()
		if output.json() {
			return writeJSON(a.Out, v)
		}
		fmt.Fprintf(a.Out, "direct-mailer %s %s %s\n", v.Version, v.Revision, v.Go)
		return nil
	}
	return cmd
}

type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

func buildVersion() version {
	v := version{Version: "(devel)", Revision: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	modified := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+changes"
			}
		}
	}
	v.Revision += modified
	return v
}
