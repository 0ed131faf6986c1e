package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

func (a *app) optoutCommand() *cobra.Command {
	cmd := group(&cobra.Command{
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
			func(s *lists.Store, ctx context.Context, keys []string) (int64, error) {
				return s.AddOptOuts(ctx, keys, lists.Asked)
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
		func(s *lists.Store, ctx context.Context, keys []string) (int64, error) {
			return s.RemoveOptOuts(ctx, keys)
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
	_ = cmd.RegisterFlagCompletionFunc("mailing", a.completeMailing)
	given := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if mailing == "" && !bounced {
			return given(cmd, args)
		}
		if mailing == "" || !bounced || len(args) > 0 || cmd.Flags().Changed("file") {
			return exit.Usagef("give either addresses, or --mailing ID and --bounced: %s", usageLine(cmd))
		}
		if err := checkID(mailing); err != nil {
			return err
		}
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		if _, err := s.mailings.Get(cmd.Context(), mailing); err != nil {
			return notFound(err, mailing)
		}
		n, err := s.lists.RemoveBounced(cmd.Context(), mailing)
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
	change func(*lists.Store, context.Context, []string) (int64, error),
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
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		n, err := changeInChunks(cmd.Context(), s.lists, keys, change)
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
func (a *app) sayKnown(ctx context.Context, s *store, keys []string) error {
	known := map[string]struct{}{}
	all := slices.Compact(slices.Sorted(slices.Values(keys)))
	for chunk := range slices.Chunk(all, 10*chunkOfKeys) {
		for _, find := range []func(context.Context, []string) ([]string, error){s.lists.Known, s.recipients.Known} {
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
		a.say("starter: warning: no list and no mailing has %s: compare the spelling with the list "+
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

// chunkOfKeys is how many addresses one statement takes.
const chunkOfKeys = 10_000

func changeInChunks(
	ctx context.Context,
	s *lists.Store,
	keys []string,
	change func(*lists.Store, context.Context, []string) (int64, error),
) (int64, error) {
	var n int64
	for len(keys) > 0 {
		chunk := keys[:min(chunkOfKeys, len(keys))]
		changed, err := change(s, ctx, chunk)
		if err != nil {
			return n, err
		}
		n += changed
		keys = keys[len(chunk):]
	}
	return n, nil
}

// readAddresses returns the keys of the addresses that the command was given, and how many lines of
// a file were none.
func (a *app) readAddresses(cmd *cobra.Command, file string, args []string) (keys []string, rejected int, err error) {
	switch {
	case file != "" && len(args) > 0:
		return nil, 0, exit.Usagef("give either --file or addresses: %s", usageLine(cmd))
	case file == "-" || file == "" && len(args) == 1 && args[0] == "-":
		return a.scanAddresses("the standard input", a.In)
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, 0, fileFailure(err)
		}
		defer f.Close()
		return a.scanAddresses(output.Base(file), f)
	case len(args) == 0:
		return nil, 0, exit.Usagef("no address is given: %s", usageLine(cmd))
	}
	for i, arg := range args {
		parsed, err := address.Read(arg)
		if err != nil {
			return nil, 0, exit.Usagef("address %d of the command line %w; nothing was changed", i+1, err)
		}
		keys = append(keys, parsed.Key())
	}
	return keys, 0, nil
}

// scanAddresses reads one address a line, or a list in CSV: its first line names an address column.
func (a *app) scanAddresses(name string, r io.Reader) (keys []string, rejected int, err error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	reject := func(line int64, reason string) {
		if rejected++; rejected <= maxShown {
			a.say("%s:%d: %s", name, line, output.Clean(reason))
		}
	}
	if namesColumns(buffered) {
		keys, err = scanList(name, buffered, reject)
	} else {
		keys, err = scanLines(name, buffered, reject)
	}
	if err != nil {
		return nil, 0, err
	}
	if rejected > maxShown {
		a.say("… and %d more", rejected-maxShown)
	}
	if len(keys) == 0 {
		return nil, 0, exit.Errorf(exit.BadInput, "%s has no address in it", name)
	}
	return keys, rejected, nil
}

// namesColumns reports whether r begins with the header of a list.
func namesColumns(r *bufio.Reader) bool {
	start, _ := r.Peek(r.Size()) // an error comes again when r is read
	for line := range bytes.Lines(bytes.TrimPrefix(start, []byte("\ufeff"))) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			_, err := csvlist.NewReader(bytes.NewReader(line), "")
			return err == nil
		}
	}
	return false
}

func scanLines(name string, r io.Reader, reject func(int64, string)) (keys []string, err error) {
	scanner := bufio.NewScanner(r)
	for line := int64(1); scanner.Scan(); line++ {
		text := strings.TrimSpace(strings.TrimPrefix(scanner.Text(), "\ufeff"))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		parsed, err := address.Read(text)
		if err != nil {
			reject(line, err.Error())
			continue
		}
		keys = append(keys, parsed.Key())
	}
	if err := scanner.Err(); err != nil {
		return nil, exit.Usagef("read %s: %w", name, readReason(err))
	}
	return keys, nil
}

func scanList(name string, r io.Reader, reject func(int64, string)) (keys []string, err error) {
	list, err := csvlist.NewReader(r, name)
	if err != nil {
		return nil, listFailure(err)
	}
	list.OnReject = func(x member.Reject) { reject(x.Position, x.Reason) }
	for {
		m, err := list.Next()
		switch {
		case err == io.EOF:
			return keys, nil
		case err != nil:
			return nil, listFailure(err)
		case m.Taken != "":
			reject(m.Position, "the address has "+m.Taken+" before or behind it: give the address alone")
		default:
			keys = append(keys, m.Address.Key())
		}
	}
}

// readReason is why a file cannot be read, without its name.
func readReason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func (a *app) optoutLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List opt-outs, sorted by address",
		Long: `Lists opt-outs. The reason is "asked", or the enhanced status code of the bounce that suppressed
the address.`,
		Example: "  starter optout ls\n  starter optout ls --output json",
		Args:    needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		w := bufio.NewWriter(a.Out)
		if format.JSON() {
			array := output.NewArray(w)
			if err = s.lists.OptOuts(cmd.Context(), func(o lists.OptOut) error { return array.Add(o) }); err == nil {
				err = array.End()
			}
			return first(err, w.Flush)
		}
		// The command writes while it reads, so it cannot know the widths of a table's columns.
		const columns = "%-44s  %-8s  %-19s  %s\n"
		fmt.Fprintf(w, columns, "address", "reason", "added", "mailing")
		err = s.lists.OptOuts(cmd.Context(), func(o lists.OptOut) error {
			_, err := fmt.Fprintf(
				w,
				columns,
				output.Clean(o.Address),
				o.Reason,
				o.AddedAt.Local().Format("2006-01-02 15:04:05"),
				o.Mailing,
			)
			return err
		})
		return first(err, w.Flush)
	}
	return cmd
}
