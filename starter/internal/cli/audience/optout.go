package audience

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/optouts"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

func (a *app) optoutCommand() *cobra.Command {
	cmd := command.Group(&cobra.Command{
		Use:     "optout",
		Aliases: []string{"optouts"},
		Short:   "Manage opt-outs: addresses that must not be mailed",
		Long: `Manages opt-outs: addresses that no mailing goes to. An opt-out takes effect at once, also in
running mailings: batches that have not begun leave the address out.`,
		Example: "  starter optout add --file addresses.txt\n  starter optout ls",
	})
	cmd.AddCommand(
		a.optoutChange(
			"add",
			"Add opt-outs",
			"added",
			"already there",
			func(s *optouts.Store, ctx context.Context, keys []string) (int64, error) {
				return s.Add(ctx, Requests(keys, optouts.Request{}))
			},
		),
		a.optoutRemove(),
		a.optoutLs(),
	)
	return cmd
}

// optoutRemove removes addresses that are given, or those that a mailing suppressed.
func (a *app) optoutRemove() *cobra.Command {
	cmd := a.optoutChange(
		"remove",
		"Remove opt-outs",
		"removed",
		"not there",
		func(s *optouts.Store, ctx context.Context, keys []string) (int64, error) {
			return s.RemoveAll(ctx, keys)
		},
	)
	var mailing string
	var bounced bool
	cmd.Use = "remove {--file FILE | ADDRESS... | - | --mailing ID --bounced}"
	cmd.Long += `

With --mailing ID --bounced, the command removes the addresses that the mailing suppressed
because they bounced, so that later mailings go to them again. Use it when the mail server was
wrong about them. Addresses of people who asked not to be mailed stay opted out.`
	cmd.Example += "\n\n  # mail again to the addresses that a mailing suppressed\n" +
		"  starter optout remove --mailing newsletter-2026-11 --bounced"
	cmd.Flags().StringVar(&mailing, "mailing", "", "mailing whose suppressed addresses are removed (with --bounced)")
	cmd.Flags().BoolVar(&bounced, "bounced", false, "remove only addresses that bounced (with --mailing)")
	_ = cmd.RegisterFlagCompletionFunc("mailing", command.CompleteMailing)
	given := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if mailing == "" && !bounced {
			return given(cmd, args)
		}
		if mailing == "" || !bounced || len(args) > 0 || cmd.Flags().Changed("file") {
			return exit.Usagef("give either addresses, or --mailing ID and --bounced: %s", command.UsageLine(cmd))
		}
		if err := command.CheckID(mailing); err != nil {
			return err
		}
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		if _, err := s.Mailings.Get(cmd.Context(), mailing); err != nil {
			return command.NotFound(err, mailing)
		}
		n, err := s.OptOuts.LiftMailing(cmd.Context(), mailing)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "%s removed\n", output.Count(n, "address"))
		return nil
	}
	return cmd
}

func (a *app) optoutChange(
	verb, short, did, not string,
	change func(*optouts.Store, context.Context, []string) (int64, error),
) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   verb + " {--file FILE | ADDRESS... | -}",
		Short: short,
		Long: short + `, from a file with one address a line, from the standard input ("-"), or from the
command line. Everybody on this machine can read a command line: prefer --file or "-". In a file,
blank lines and lines that begin with # are skipped. A list or a report in CSV is read, too.

The command leaves out lines of a file that are not an address, and reports them by number. An
address with quotation marks, bullets or dashes around it is left out, too. An argument that is not
an address changes nothing.`,
		Example: "  starter optout " + verb + " --file addresses.txt\n\n  # where nobody else can see the address\n" +
			"  printf '%s\\n' someone@example.com | starter optout " + verb + " -",
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", `file with one address a line ("-": the standard input)`)
	_ = cmd.MarkFlagFilename("file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		keys, rejected, err := a.readAddresses(cmd, file, args)
		if err != nil {
			return err
		}
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		n, err := changeInChunks(cmd.Context(), s.OptOuts, keys, change)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "%s %s, %s %s\n", output.Count(n, "address"), did, output.Thousands(int64(len(keys))-n), not)
		if verb == "add" {
			if err := a.sayKnown(cmd.Context(), s, keys); err != nil {
				return err
			}
		}
		if rejected > 0 {
			return exit.Errorf(exit.RowsRejected, "left out %s without an address", output.Count(rejected, "line"))
		}
		return nil
	}
	return cmd
}

// sayKnown says how many of the addresses lists and mailings have. An opt-out that none has may be
// misspelt.
func (a *app) sayKnown(ctx context.Context, s *command.Store, keys []string) error {
	known := map[string]struct{}{}
	all := slices.Compact(slices.Sorted(slices.Values(keys)))
	for chunk := range slices.Chunk(all, 10*command.KeysAtOnce) {
		for _, find := range []func(context.Context, []string) ([]string, error){s.Lists.Known, s.Recipients.Known} {
			found, err := find(ctx, chunk)
			if err != nil {
				return err
			}
			for _, key := range found {
				known[key] = struct{}{}
			}
		}
	}
	if len(known) == 0 {
		a.Say("starter: warning: no list and no mailing has %s: compare the spelling with the list "+
			"(queries are not looked through)", which(len(all)))
		return nil
	}
	fmt.Fprintf(a.Out, "in lists and mailings: %s of %s\n",
		output.Thousands(int64(len(known))), output.Count(len(all), "address"))
	return nil
}

func which(n int) string {
	if n == 1 {
		return "this address"
	}
	return "any of these addresses"
}

// Requests returns a request like the one given for each of the keys.
func Requests(keys []string, like optouts.Request) []optouts.Request {
	all := make([]optouts.Request, len(keys))
	for i, key := range keys {
		all[i] = like
		all[i].Key = key
	}
	return all
}

func changeInChunks(
	ctx context.Context,
	s *optouts.Store,
	keys []string,
	change func(*optouts.Store, context.Context, []string) (int64, error),
) (int64, error) {
	var n int64
	for len(keys) > 0 {
		chunk := keys[:min(command.KeysAtOnce, len(keys))]
		changed, err := change(s, ctx, chunk)
		if err != nil {
			return n, err
		}
		n += changed
		keys = keys[len(chunk):]
	}
	return n, nil
}

func (a *app) optoutLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List opt-outs, sorted by address",
		Long: `Lists opt-outs. The reason is "asked", or the enhanced status code of the bounce that suppressed
the address.`,
		Example: "  starter optout ls\n  starter optout ls --output json",
		Args:    command.Needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		w := bufio.NewWriter(a.Out)
		if format.JSON() {
			array := output.NewArray(w)
			if err = s.OptOuts.All(cmd.Context(), func(o optouts.Exclusion) error { return array.Add(o) }); err == nil {
				err = array.End()
			}
			return command.FirstError(err, w.Flush)
		}
		// The command writes while it reads, so it cannot know the widths of a table's columns.
		const columns = "%-44s  %-8s  %-19s  %s\n"
		fmt.Fprintf(w, columns, "address", "reason", "added", "mailing")
		err = s.OptOuts.All(cmd.Context(), func(o optouts.Exclusion) error {
			_, err := fmt.Fprintf(
				w,
				columns,
				output.Clean(o.Address),
				cmp.Or(o.Code, o.Reason),
				o.AddedAt.Local().Format("2006-01-02 15:04:05"),
				o.Mailing,
			)
			return err
		})
		return command.FirstError(err, w.Flush)
	}
	return cmd
}
