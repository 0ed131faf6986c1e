// Package rates holds the command starter rate.
package rates

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/config"
	"directmailer/internal/delivery/rate"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/mailing"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

// app makes the command.
type app struct{ command.App }

// Command returns `starter rate`.
func Command(shared command.App) *cobra.Command {
	a := &app{shared}
	cmd := command.Group(&cobra.Command{
		Use:     "rate",
		Aliases: []string{"rates"},
		Short:   "Manage rate limits",
		Long: `Manages rate limits. A limit applies to all workers together. A change takes effect within two
seconds, also in running mailings.

The limit of a drop point, or of a recipient domain, applies to all mailings together, until it
is cleared. The limit of one mailing ends with the mailing. Several limits can apply to a
message. It then waits for all of them.`,
		Example: "  starter rate ls\n  starter rate set gmail.com 20/s",
	})
	cmd.AddCommand(a.rateLs(), a.rateSet(), a.rateClear())
	return cmd
}

// limits describes the answer of `starter rate ls`.
var limits = output.Table[status.Limit]{
	{Title: "limit of", Cell: func(l status.Limit) string { return strings.ReplaceAll(l.Kind, "_", " ") }},
	{Title: "name", Wrap: 30, Cell: func(l status.Limit) string { return output.Clean(l.Name) }},
	{Title: "mailing", Wrap: 30, Cell: func(l status.Limit) string {
		return cmp.Or(output.Clean(l.Mailing), "all together")
	}},
	{Title: "rate", Right: true, Cell: func(l status.Limit) string { return l.Rate.String() }},
	{Title: "set", Cell: func(l status.Limit) string { return output.Moment(l.SetAt) }},
}

func (a *app) rateLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List rate limits",
		Example: "  starter rate ls\n  starter rate ls --output json",
		Args:    command.Needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		lines, err := s.Limits(cmd.Context())
		if err != nil {
			return err
		}
		return limits.Write(a.Out, format, lines)
	}
	return cmd
}

func (a *app) rateSet() *cobra.Command {
	var mailing string
	cmd := &cobra.Command{
		Use:   "set {DROP-POINT | DOMAIN | --mailing ID} RATE",
		Short: "Set a rate limit",
		Long: `Sets the limit of a drop point, of a recipient domain, or of one running mailing. A name with a
dot is a domain.

RATE is a number of messages per second, minute, hour or day: 20/s, 500/min, 10000/h, "1,000 per
hour".`,
		Example: `  starter rate set gmail.com 20/s
  starter rate set mx 10000/h
  starter rate set --mailing newsletter-2026-11 500/min`,
	}
	mailingFlag(a, cmd, &mailing)
	cmd.ValidArgsFunction = command.CompleteLimit(true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := ""
		if mailing == "" {
			if len(args) == 0 {
				return exit.Usagef("the name of a drop point, or a domain, is missing: %s", command.UsageLine(cmd))
			}
			name, args = args[0], args[1:]
		}
		if len(args) == 0 {
			return exit.Usagef("the rate is missing: %s", command.UsageLine(cmd))
		}
		r, err := rate.Parse(strings.Join(args, " ")) // "1000 per hour" needs no quotes
		if err != nil {
			return exit.Usagef("%w", err)
		}
		return a.setRate(cmd.Context(), mailing, name, r)
	}
	return cmd
}

func (a *app) rateClear() *cobra.Command {
	var mailing string
	cmd := &cobra.Command{
		Use:   "clear {DROP-POINT | DOMAIN | --mailing ID}",
		Short: "Clear a rate limit",
		Long: `Clears the limit of a drop point, of a recipient domain, or of one running mailing. The limits that
a mailing has in its file, for a drop point or a domain, stay: they are for that mailing only.`,
		Example: "  starter rate clear gmail.com\n  starter rate clear --mailing newsletter-2026-11",
	}
	mailingFlag(a, cmd, &mailing)
	cmd.ValidArgsFunction = command.CompleteLimit(false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if mailing == "" {
			if err := command.Needs("the name of a drop point, or a domain,")(cmd, args); err != nil {
				return err
			}
			return a.setRate(cmd.Context(), "", args[0], rate.Rate{})
		}
		if err := command.Needs()(cmd, args); err != nil {
			return err
		}
		return a.setRate(cmd.Context(), mailing, "", rate.Rate{})
	}
	return cmd
}

func mailingFlag(a *app, cmd *cobra.Command, mailing *string) {
	cmd.Flags().StringVar(mailing, "mailing", "", "ID of the mailing to limit")
	_ = cmd.RegisterFlagCompletionFunc("mailing", command.CompleteID)
}

// setRate sets or, with no rate, clears one limit.
func (a *app) setRate(ctx context.Context, mailing, name string, r rate.Rate) error {
	if mailing != "" {
		if err := command.CheckID(mailing); err != nil {
			return err
		}
		return a.setMailingRate(ctx, mailing, r)
	}
	scope, err := ratelimit.ParseScope(name)
	if err != nil {
		return exit.Usagef("%q %w", output.Typed(name), err)
	}
	s, err := command.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	pacer := ratelimit.New(s.Pool)
	what := strings.ReplaceAll(scope.Kind.String(), "_", " ") + " " + scope.Name
	if r.IsZero() {
		all, err := pacer.List(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(l ratelimit.Limit) bool { return l.Scope == scope }) {
			return exit.Errorf(exit.NotFound, "%s has no rate limit", what)
		}
	}
	if err := pacer.Set(ctx, scope, r); err != nil {
		return err
	}
	if r.IsZero() {
		fmt.Fprintf(a.Out, "%s: no limit\n", what)
		return nil
	}
	fmt.Fprintf(a.Out, "%s: %s, over all mailings and workers\n", what, r)
	a.warnOfUnknownDropPoint(scope)
	return nil
}

// warnOfUnknownDropPoint warns of a name that this shell does not know. It may be a typing error,
// or a drop point that only the workers have.
func (a *app) warnOfUnknownDropPoint(s ratelimit.Scope) {
	c, err := command.Settings()
	if s.Kind != ratelimit.DropPoint || err != nil || len(c.DropPoints) == 0 ||
		slices.Contains(names(c.DropPoints), s.Name) {
		return
	}
	a.Say(
		"starter: warning: DM_DROP_POINTS of this shell has no drop point %s (known: %s)",
		s.Name,
		strings.Join(names(c.DropPoints), ", "),
	)
}

func names(points config.DropPoints) []string {
	all := make([]string, len(points))
	for i, p := range points {
		all[i] = p.Name
	}
	return all
}

func (a *app) setMailingRate(ctx context.Context, id string, r rate.Rate) error {
	text := "none"
	if !r.IsZero() {
		text = r.String()
	}
	return mailing.OnRunning(ctx, id, "limit", func(c *temporalclient.Client, queue string) error {
		change := workflows.RateChange{Rate: workflows.Rate(text)}
		if _, err := mailing.Update(ctx, c, id, queue, workflows.RateUpdate, change); err != nil {
			return mailing.Refusal(id, "limit", err)
		}
		if r.IsZero() {
			text = "no limit of its own"
		}
		fmt.Fprintf(a.Out, "mailing %s: %s\n", id, text)
		return nil
	})
}
