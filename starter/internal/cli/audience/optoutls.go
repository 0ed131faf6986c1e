package audience

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/optouts"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/output"
)

func (a *app) optoutLs() *cobra.Command {
	var of which
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List opt-outs and suppressions, sorted by address",
		Long: `Lists opt-outs and suppressions, sorted by address. The reason of a suppression is "bounced", with
the class of the bounce and the enhanced status code.`,
		Example: `  starter optout ls
  starter optout ls --scope topic:offers
  starter optout ls --reason bounced --output json`,
		Args: command.Needs(),
	}
	of.add(cmd, "", "", append(reasonNames(), optouts.Bounced)...)
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.each(cmd.Context(), of, func(all allOptOuts) error {
			if format.JSON() {
				return writeArray(a.Out, all)
			}
			return writeTable(a.Out, all)
		})
	}
	return cmd
}

func (a *app) optoutExport() *cobra.Command {
	var of which
	var file string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export opt-outs and suppressions as CSV or JSON",
		Long: `Exports opt-outs and suppressions with scope, reason, time and mailing. ` + "`starter optout import`" + `
reads the CSV. An address that a spreadsheet would take for a formula, and a whole domain, gets an
apostrophe before it.`,
		Example: `  starter optout export --output-file opt-outs.csv
  starter optout export --reason complaint --output json`,
		Args: command.Needs(),
	}
	of.add(cmd, "", "", append(reasonNames(), optouts.Bounced)...)
	format := output.AddFormat(cmd, "csv", "json")
	cmd.Flags().StringVar(&file, "output-file", "",
		"file to write; it appears when it is complete (default: the standard output)")
	_ = cmd.MarkFlagFilename("output-file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.each(cmd.Context(), of, func(all allOptOuts) error {
			return a.Write(cmd.Context(), file, func(w io.Writer) error {
				if format.JSON() {
					return writeArray(w, all)
				}
				return writeCSV(w, all)
			})
		})
	}
	return cmd
}

// allOptOuts calls each for every opt-out and suppression that is meant, while it reads.
type allOptOuts func(each func(optouts.Exclusion) error) error

// each opens the database and calls write with what the flags mean.
func (a *app) each(ctx context.Context, of which, write func(allOptOuts) error) error {
	scope, reason, err := of.read(true)
	if err != nil {
		return err
	}
	s, err := command.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	return write(func(each func(optouts.Exclusion) error) error { return s.OptOuts.All(ctx, scope, reason, each) })
}

func writeArray(to io.Writer, all allOptOuts) error {
	w := bufio.NewWriter(to)
	array := output.NewArray(w)
	err := all(func(e optouts.Exclusion) error { return array.Add(e) })
	if err == nil {
		err = array.End()
	}
	return command.FirstError(err, w.Flush)
}

// writeTable writes while it reads, so it cannot know the widths of the columns.
func writeTable(to io.Writer, all allOptOuts) error {
	const columns = "%-40s  %-16s  %-20s  %-19s  %s\n"
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, columns, "address", "scope", "reason", "added", "mailing")
	err := all(func(e optouts.Exclusion) error {
		reason := strings.Join(strings.Fields(e.Reason+" "+e.Class+" "+e.Code), " ")
		_, err := fmt.Fprintf(w, columns, output.Clean(e.Address), e.Scope, reason,
			e.AddedAt.Local().Format("2006-01-02 15:04:05"), e.Mailing)
		return err
	})
	return command.FirstError(err, w.Flush)
}

// exportHeader are the columns of an export.
var exportHeader = []string{"address", "scope", "reason", "added_at", "mailing", "class", "code", "count", "last_at",
	"expires_at"}

func writeCSV(to io.Writer, all allOptOuts) error {
	w := bufio.NewWriterSize(to, 64<<10)
	c := csv.NewWriter(w)
	_ = c.Write(exportHeader) // an error stays until Flush
	err := all(func(e optouts.Exclusion) error {
		count := ""
		if e.Count > 0 {
			count = strconv.Itoa(e.Count)
		}
		return c.Write([]string{guardKey(e.Address), e.Scope, e.Reason, e.AddedAt.UTC().Format(time.RFC3339Nano), e.Mailing,
			e.Class, e.Code, count, optional(e.LastAt), optional(e.Expires)})
	})
	c.Flush()
	if err == nil {
		err = c.Error()
	}
	return command.FirstError(err, w.Flush)
}

func optional(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// guardKey makes a key harmless in a spreadsheet. A key has no blanks and no control characters, so
// only its first character matters. [optouts.Key] takes the apostrophe off.
func guardKey(key string) string {
	if strings.ContainsRune("=+-@", rune(key[0])) {
		return "'" + key
	}
	return key
}
