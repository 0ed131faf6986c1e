package command

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/starter/internal/output"
)

// completionTimeout is how long a shell waits for completions.
const completionTimeout = 2 * time.Second

// CompleteMailing completes a mailing's ID as the first argument, newest first.
func CompleteMailing(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return CompleteID(cmd, args, typed)
}

// CompleteList completes a list's name as the first argument.
func CompleteList(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	var found []string
	if len(args) == 0 {
		withStore(cmd, func(ctx context.Context, s *Store) {
			all, err := s.Lists.All(ctx)
			if err != nil {
				return
			}
			for _, l := range all {
				if strings.HasPrefix(l.Name, typed) {
					found = append(found, l.Name+"\t"+output.Count(l.Members, "member"))
				}
			}
		})
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// CompleteID completes a mailing's ID as the value of a flag.
func CompleteID(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	var found []string
	withStore(cmd, func(ctx context.Context, s *Store) {
		all, err := s.Mailings.Latest(ctx, 200, false)
		if err != nil {
			return
		}
		for _, m := range all {
			if strings.HasPrefix(m.ID, typed) {
				found = append(found, m.ID+"\t"+m.CreatedAt.Local().Format("2006-01-02 15:04")+" "+output.Clean(m.List))
			}
		}
	})
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// CompleteLimit completes the names that have a rate limit. With all it also completes the drop
// points of this shell, which could have one.
func CompleteLimit(all bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
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
		withStore(cmd, func(ctx context.Context, s *Store) {
			set, err := ratelimit.New(s.Pool).List(ctx)
			if err != nil {
				return
			}
			for _, l := range set {
				if l.Scope.Mailing == 0 {
					add(l.Scope.Name, l.Rate.String())
				}
			}
		})
		if c, err := Settings(); err == nil && all {
			for _, p := range c.DropPoints {
				add(p.Name, "drop point")
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// withStore calls do if the database answers soon. A completion cannot show an error.
func withStore(cmd *cobra.Command, do func(context.Context, *Store)) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	if s, err := OpenStore(ctx); err == nil {
		defer s.Close()
		do(ctx, s)
	}
}
