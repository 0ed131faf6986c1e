package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"directmailer/internal/config"
	"directmailer/internal/delivery/rate"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
)

func (a *app) rateCommand() *cobra.Command {
	cmd := family(&cobra.Command{
		Use:   "rate",
		Short: "How fast mail is handed over",
		Long: `Rate limits hold over all workers together and take effect within two seconds, also in mailings that are being sent.

The limit of a drop point, or of the domain of recipients' addresses, holds for all mailings together and stays until it is
cleared. The limit of one mailing ends with it. A message has to keep to every limit that it comes under.`,
	})
	cmd.AddCommand(a.rateLs(), a.rateSet(), a.rateClear())
	return cmd
}

// limitLine is a limit as JSON.
type limitLine struct {
	Kind  string    `json:"kind"` // drop_point, domain or mailing
	Name  string    `json:"name"` // of a mailing its ID
	Rate  rate.Rate `json:"rate"`
	SetAt time.Time `json:"set_at"`
}

func (a *app) rateLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List all rate limits",
		Example: "  starter rate ls\n  starter rate ls --output json",
		Args:    wants(),
	}
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		lines, err := s.limits(cmd.Context())
		if err != nil {
			return err
		}
		if output.json() {
			return writeJSON(a.Out, lines)
		}
		t := newTable(a.Out, table.Row{"limit of", "name", "rate", "set"}, "rate")
		for _, l := range lines {
			t.AppendRow(table.Row{strings.ReplaceAll(l.Kind, "_", " "), clean(l.Name), l.Rate, moment(l.SetAt)})
		}
		t.Render()
		return nil
	}
	return cmd
}

// limits are all that limit anything; those of mailings by their IDs.
func (s *store) limits(ctx context.Context) ([]limitLine, error) {
	all, err := ratelimit.New(s.pool).List(ctx)
	if err != nil {
		return nil, err
	}
	var keys []int64
	for _, l := range all {
		if l.Scope.Kind == ratelimit.Mailing {
			key, _ := strconv.ParseInt(l.Scope.Name, 10, 64)
			keys = append(keys, key)
		}
	}
	ids, err := s.openIDs(ctx, keys)
	if err != nil {
		return nil, err
	}
	lines := []limitLine{}
	for _, l := range all {
		name := l.Scope.Name
		if l.Scope.Kind == ratelimit.Mailing {
			key, _ := strconv.ParseInt(name, 10, 64)
			if name = ids[key]; name == "" {
				continue // it is over, and its limit limits nothing
			}
		}
		lines = append(lines, limitLine{l.Scope.Kind.String(), name, l.Rate, l.UpdatedAt})
	}
	return lines, nil
}

// openIDs returns the IDs of those of the mailings that are not over.
func (s *store) openIDs(ctx context.Context, keys []int64) (map[int64]string, error) {
	ids := map[int64]string{}
	if len(keys) == 0 {
		return ids, nil
	}
	open, err := s.mailings.Open(ctx, keys)
	for _, m := range open {
		ids[m.Key] = m.ID
	}
	return ids, err
}

func (a *app) rateSet() *cobra.Command {
	var mailing string
	cmd := &cobra.Command{
		Use:   "set {DROP-POINT | DOMAIN | --mailing ID} RATE",
		Short: "Set a rate limit",
		Long: `Sets the limit of a drop point, of a recipient domain (a name with a dot is a domain), or of one mailing that is running.

RATE is a number of messages in a second, minute, hour or day: 20/s, 500/min, 10000/h, "1,000 per hour".`,
		Example: `  starter rate set gmail.com 20/s
  starter rate set mx 10000/h
  starter rate set --mailing newsletter-2026-11 500/min`,
	}
	mailingFlag(a, cmd, &mailing)
	cmd.ValidArgsFunction = a.completeLimit(true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := ""
		if mailing == "" {
			if len(args) == 0 {
				return usage("the name of a drop point, or a domain, is missing: %s", cmd.UseLine())
			}
			name, args = args[0], args[1:]
		}
		if len(args) == 0 {
			return usage("the rate is missing: %s", cmd.UseLine())
		}
		r, err := rate.Parse(strings.Join(args, " ")) // "1000 per hour" needs no quotes
		if err != nil {
			return usage("%w", err)
		}
		return a.setRate(cmd.Context(), mailing, name, r)
	}
	return cmd
}

func (a *app) rateClear() *cobra.Command {
	var mailing string
	cmd := &cobra.Command{
		Use:   "clear {DROP-POINT | DOMAIN | --mailing ID}",
		Short: "Remove a rate limit",
		Long: `Removes the limit of a drop point, of a recipient domain, or of a mailing that is running. A mailing that is started later
with a limit for that drop point or domain in its own file sets it again.`,
		Example: "  starter rate clear gmail.com\n  starter rate clear --mailing newsletter-2026-11",
	}
	mailingFlag(a, cmd, &mailing)
	cmd.ValidArgsFunction = a.completeLimit(false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if mailing == "" {
			if err := wants("the name of a drop point, or a domain,")(cmd, args); err != nil {
				return err
			}
			return a.setRate(cmd.Context(), "", args[0], rate.Rate{})
		}
		if err := wants()(cmd, args); err != nil {
			return err
		}
		return a.setRate(cmd.Context(), mailing, "", rate.Rate{})
	}
	return cmd
}

func mailingFlag(a *app, cmd *cobra.Command, mailing *string) {
	cmd.Flags().StringVar(mailing, "mailing", "", "the ID of the mailing whose own limit it is")
	_ = cmd.RegisterFlagCompletionFunc("mailing", a.completeID)
}

// setRate sets or, with no rate, clears one limit.
func (a *app) setRate(ctx context.Context, mailing, name string, r rate.Rate) error {
	if mailing != "" {
		return a.setMailingRate(ctx, mailing, r)
	}
	scope, err := ratelimit.ParseScope(name)
	if err != nil {
		return usage("%q %w", printable(name), err)
	}
	s, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	pacer := ratelimit.New(s.pool)
	what := strings.ReplaceAll(scope.Kind.String(), "_", " ") + " " + scope.Name
	if r.IsZero() {
		all, err := pacer.List(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(l ratelimit.Limit) bool { return l.Scope == scope }) {
			return failf(NotFound, "%s has no rate limit", what)
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
	a.warnOfUnknownPoint(scope)
	return nil
}

// warnOfUnknownPoint: what looks like a slip may be a drop point that only the workers know.
func (a *app) warnOfUnknownPoint(s ratelimit.Scope) {
	c, err := settings()
	if s.Kind != ratelimit.DropPoint || err != nil || len(c.DropPoints) == 0 || slices.Contains(names(c.DropPoints), s.Name) {
		return
	}
	a.say("starter: warning: DM_DROP_POINTS of this shell has no drop point %s: it has %s", s.Name, strings.Join(names(c.DropPoints), ", "))
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
	return a.onRunning(ctx, id, "limit", func(c *temporalclient.Cluster, queue string) error {
		if _, err := update(ctx, c, id, queue, workflows.RateUpdate, workflows.RateChange{Rate: workflows.Rate(text)}); err != nil {
			return refusal(id, "limit", err)
		}
		if r.IsZero() {
			text = "no limit of its own"
		}
		fmt.Fprintf(a.Out, "mailing %s: %s\n", id, text)
		return nil
	})
}
