package audience

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/optouts"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// optoutRemove removes addresses that are given, or those that a mailing suppressed.
func (a *app) optoutRemove() *cobra.Command {
	var file, mailing string
	var bounced bool
	var of which
	cmd := &cobra.Command{
		Use:   "remove {--file FILE | ADDRESS... | - | --mailing ID --bounced}",
		Short: "Remove opt-outs",
		Long: "Removes opt-outs, " + aboutFiles + `

Without --scope and --reason, the command takes back every request of these addresses, and lifts
their suppressions, so that all mailings go to them again. It says how many of these people had
asked not to be mailed or had complained: only remove these if the person wants mail again. To lift
only suppressions, give --reason bounced.

With --mailing ID --bounced, the command removes the addresses that the mailing suppressed
because they bounced, so that later mailings go to them again. Use it when the mail server was
wrong about them. Addresses of people who asked not to be mailed stay opted out.`,
		Example: `  starter optout remove --file addresses.txt
  starter optout remove --scope topic:offers someone@example.com

  # mail again to the addresses that a mailing suppressed
  starter optout remove --mailing newsletter-2026-11 --bounced`,
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", `file with one address a line ("-": the standard input)`)
	_ = cmd.MarkFlagFilename("file")
	cmd.Flags().StringVar(&mailing, "mailing", "", "mailing whose suppressed addresses are removed (with --bounced)")
	cmd.Flags().BoolVar(&bounced, "bounced", false, "remove only addresses that bounced (with --mailing)")
	_ = cmd.RegisterFlagCompletionFunc("mailing", command.CompleteMailing)
	of.add(cmd, "", "", append(reasonNames(), optouts.Bounced)...)
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if mailing == "" && !bounced {
			return a.removeAddresses(cmd, file, args, of, format)
		}
		given := len(args) > 0 || cmd.Flags().Changed("file") || of != which{}
		if mailing == "" || !bounced || given {
			return exit.Usagef("give either addresses, or --mailing ID and --bounced: %s", command.UsageLine(cmd))
		}
		return a.removeBounced(cmd, mailing, format)
	}
	return cmd
}

func (a *app) removeAddresses(cmd *cobra.Command, file string, args []string, of which, format *output.Format) error {
	scope, reason, err := of.read(true)
	if err != nil {
		return err
	}
	keys, rejected, err := a.readAddresses(cmd, file, args)
	if err != nil {
		return err
	}
	s, err := command.OpenStore(cmd.Context())
	if err != nil {
		return err
	}
	defer s.Close()
	done := optoutChange{Rejected: rejected}
	for chunk := range slices.Chunk(keys, command.KeysAtOnce) {
		removed, err := s.OptOuts.RemoveAll(cmd.Context(), chunk, scope, reason)
		if err != nil {
			return err
		}
		done.Changed += removed.Addresses
		done.Asked += removed.Asked
	}
	done.Unchanged = int64(len(keys)) - done.Changed
	if !format.JSON() {
		a.sayChange(done, "removed", "not there")
	}
	if done.Asked > 0 {
		a.Say("starter: warning: %s had asked not to be mailed, or complained: mailings go there again",
			output.Thousands(done.Asked)+" of the people")
	}
	return a.endChange(done, format)
}

func (a *app) removeBounced(cmd *cobra.Command, mailing string, format *output.Format) error {
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
	if !format.JSON() {
		fmt.Fprintf(a.Out, "%s removed\n", output.Count(n, "address"))
	}
	return a.endChange(optoutChange{Changed: n}, format)
}
