package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/delivery/ratelimit"
)

// completionPatience is how long a shell may be kept waiting for completions.
const completionPatience = 2 * time.Second

// completeMailing completes a mailing's ID as the first argument, newest first.
func (a *app) completeMailing(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeID(cmd, args, typed)
}

// completeID completes a mailing's ID as the value of a flag.
func (a *app) completeID(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	var found []string
	withStore(cmd, func(ctx context.Context, s *store) {
		all, err := s.mailings.Latest(ctx, 200)
		if err != nil {
			return
		}
		for _, m := range all {
			if strings.HasPrefix(m.ID, typed) {
				found = append(found, m.ID+"\t"+m.CreatedAt.Local().Format("2006-01-02 15:04")+" "+clean(m.List))
			}
		}
	})
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeLimit completes what has a rate limit, or with points also what could have one: the drop points that this shell knows.
func (a *app) completeLimit(points bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 || cmd.Flags().Changed("mailing") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var found []string
		seen := map[string]bool{}
		add := func(name, about string) {
			if strings.HasPrefix(name, typed) && !seen[name] {
				seen[name] = true
				found = append(found, name+"\t"+about)
			}
		}
		withStore(cmd, func(ctx context.Context, s *store) {
			all, err := ratelimit.New(s.pool).List(ctx)
			if err != nil {
				return
			}
			for _, l := range all {
				if l.Scope.Kind != ratelimit.Mailing {
					add(l.Scope.Name, l.Rate.String())
				}
			}
		})
		if c, err := settings(); err == nil && points {
			for _, p := range c.DropPoints {
				add(p.Name, "drop point")
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// withStore calls do if the database answers soon. A completion has nobody to complain to.
func withStore(cmd *cobra.Command, do func(context.Context, *store)) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	if s, err := openStore(ctx); err == nil {
		defer s.close()
		do(ctx, s)
	}
}
