package audience

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
		Short:   "Manage opt-outs: who must not be mailed",
		Long: `Manages opt-outs, which are requests of people and operators not to be mailed, and suppressions,
which are addresses that bounced. A request is about all mail, a list or a topic, and about an
address or a whole domain (@example.com). It takes effect within two seconds, also in running
mailings.`,
		Example: `  starter optout add --file addresses.txt
  starter optout add --scope topic:offers someone@example.com
  starter optout ls --reason bounced
  starter optout export --output-file opt-outs.csv`,
	})
	cmd.AddCommand(a.optoutAdd(), a.optoutRemove(), a.optoutLs(), a.optoutImport(), a.optoutExport())
	return cmd
}

// which are the flags that say which opt-outs are meant.
type which struct{ scope, reason string }

func (w *which) add(cmd *cobra.Command, scope, reason string, reasons ...string) {
	cmd.Flags().StringVar(&w.scope, "scope", scope, "all mail, a list or a topic: all, list:NAME or topic:NAME")
	cmd.Flags().StringVar(&w.reason, "reason", reason, "reason: "+output.OneOf(reasons))
	_ = cmd.RegisterFlagCompletionFunc("scope",
		cobra.FixedCompletions([]string{"all", "list:", "topic:"}, cobra.ShellCompDirectiveNoSpace))
	_ = cmd.RegisterFlagCompletionFunc("reason",
		cobra.FixedCompletions(reasons, cobra.ShellCompDirectiveNoFileComp))
}

// read checks the flags. An empty one stands for any. bounced tells whether that is a reason, too.
func (w *which) read(bounced bool) (scope optouts.Scope, reason optouts.Reason, err error) {
	if w.scope != "" {
		if scope, err = optouts.ParseScope(w.scope); err != nil {
			return "", "", exit.Usagef("--scope %w", err)
		}
	}
	switch {
	case w.reason == "":
	case w.reason == optouts.Bounced && bounced:
		reason = optouts.Bounced
	case w.reason == optouts.Bounced:
		return "", "", exit.Usagef(
			"--reason is bounced, which only a mail server finds out: an operator's reason is operator")
	default:
		if reason, err = optouts.ParseReason(w.reason); err != nil {
			return "", "", exit.Usagef("--reason %w", err)
		}
	}
	return scope, reason, nil
}

// reasonNames are the reasons of requests.
func reasonNames() (names []string) {
	for _, r := range optouts.Reasons {
		names = append(names, string(r))
	}
	return names
}

// aboutFiles says what a command reads.
const aboutFiles = `from a file with one address a line, from the standard input ("-"), or from the
command line. Everybody on this machine can read a command line: prefer --file or "-". In a file,
blank lines and lines that begin with # are skipped. A list or a report in CSV is read, too.
@example.com is a whole domain, without its subdomains.

The command leaves out lines of a file that are not an address, and reports them by number. An
address with quotation marks, bullets or dashes around it is left out, too. An argument that is not
an address changes nothing.`

func (a *app) optoutAdd() *cobra.Command {
	var file string
	var of which
	cmd := &cobra.Command{
		Use:   "add {--file FILE | ADDRESS... | -}",
		Short: "Add opt-outs",
		Long:  "Adds opt-outs, " + aboutFiles,
		Example: `  starter optout add --file addresses.txt
  starter optout add --scope list:customers --reason complaint --file complaints.txt
  starter optout add --reason operator @example.com

  # where nobody else can see the address
  printf '%s\n' someone@example.com | starter optout add -`,
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", `file with one address a line ("-": the standard input)`)
	_ = cmd.MarkFlagFilename("file")
	of.add(cmd, "all", "asked", reasonNames()...)
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		scope, reason, err := of.read(false)
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
		like := optouts.Request{Scope: scope, Reason: reason}
		return a.addAll(cmd.Context(), s, keys, rejected, like, format)
	}
	return cmd
}

// optoutChange is the answer of the commands that change opt-outs.
type optoutChange struct {
	Changed   int64 `json:"changed"`
	Unchanged int64 `json:"unchanged"` // there already, or not there
	Rejected  int   `json:"rejected"`  // lines that are no opt-out
	// Known are the addresses that lists and mailings have; of added ones only.
	Known *int `json:"known,omitempty"`
	// Asked are the removed addresses whose people had asked not to be mailed, or complained.
	Asked int64 `json:"asked,omitempty"`
}

// addAll adds a request for each of the keys, and prints what was done.
func (a *app) addAll(
	ctx context.Context, s *command.Store, keys []string, rejected int, like optouts.Request, format *output.Format,
) error {
	done := optoutChange{Rejected: rejected}
	for chunk := range slices.Chunk(keys, command.KeysAtOnce) {
		n, err := s.OptOuts.Add(ctx, Requests(chunk, like))
		if err != nil {
			return err
		}
		done.Changed += n
	}
	done.Unchanged = int64(len(keys)) - done.Changed
	if !format.JSON() {
		a.sayChange(done, "added", "already there")
	}
	if err := a.countKnown(ctx, s, keys, &done, format); err != nil {
		return err
	}
	return a.endChange(done, format)
}

func (a *app) sayChange(done optoutChange, did, not string) {
	fmt.Fprintf(a.Out, "%s %s, %s %s\n", output.Count(done.Changed, "address"), did,
		output.Thousands(done.Unchanged), not)
}

// endChange prints the JSON, and returns the error for rejected lines.
func (a *app) endChange(done optoutChange, format *output.Format) error {
	if format.JSON() {
		if err := output.WriteJSON(a.Out, done); err != nil {
			return err
		}
	}
	if done.Rejected > 0 {
		return exit.Errorf(exit.RowsRejected, "left out %s without an address", output.Count(done.Rejected, "line"))
	}
	return nil
}

// countKnown says how many of the addresses lists and mailings have. An opt-out that none has may
// be misspelt. Whole domains are not counted.
func (a *app) countKnown(
	ctx context.Context, s *command.Store, keys []string, done *optoutChange, format *output.Format,
) error {
	known := map[string]struct{}{}
	all := slices.Compact(slices.Sorted(slices.Values(keys)))
	all = slices.DeleteFunc(all, func(key string) bool { return strings.HasPrefix(key, "@") })
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
	n := len(known)
	done.Known = &n
	switch {
	case len(all) == 0:
		return nil
	case n == 0:
		a.Say("starter: warning: no list and no mailing has %s: compare the spelling with the list "+
			"(queries are not looked through)", these(len(all)))
		return nil
	case format.JSON():
		return nil
	}
	fmt.Fprintf(a.Out, "in lists and mailings: %s of %s\n",
		output.Thousands(int64(len(known))), output.Count(len(all), "address"))
	return nil
}

func these(n int) string {
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
