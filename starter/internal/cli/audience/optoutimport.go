package audience

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/charset"
	"directmailer/internal/audience/optouts"
	"directmailer/internal/naming"
	"directmailer/internal/stoppable"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

func (a *app) optoutImport() *cobra.Command {
	var of which
	cmd := &cobra.Command{
		Use:   "import {FILE | -}",
		Short: "Import opt-outs from a file",
		Long: `Imports opt-outs from a file, and removes none. The file is an export of this program
(` + "`starter optout export`" + `), with a scope, a reason, a time and a mailing in each row. Or it is a file
of another system, such as a list of the unsubscribed in CSV, as Excel and Mailchimp write it: then
each address of the file is opted out, with --scope and --reason.

The command leaves out rows that it cannot read, and reports them by line: their people are still
mailed. An opt-out that is there already stays as it is.`,
		Example: `  starter optout import opt-outs.csv

  # the people who left a list in another system
  starter optout import --scope list:customers unsubscribed.csv`,
		Args: command.Needs("FILE"),
	}
	of.add(cmd, "", "", reasonNames()...)
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		scope, reason, err := of.read(false)
		if err != nil {
			return err
		}
		file, start, err := a.peek(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if isExport(start) {
			if of != (which{}) {
				return exit.Usagef("%s has a scope and a reason in each row: leave --scope and --reason out",
					output.Base(args[0]))
			}
			return a.importExport(cmd.Context(), file, format)
		}
		keys, rejected, err := a.readAddresses(cmd, file, nil)
		if err != nil {
			return err
		}
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		like := optouts.Request{Scope: scope, Reason: cmp.Or(reason, optouts.Imported)}
		return a.addAll(cmd.Context(), s, keys, rejected, like, format)
	}
	return cmd
}

// peek returns the beginning of a file, or of the standard input, which can be read again. A pipe
// can be read once only, so it becomes the standard input: its name is "-" then.
func (a *app) peek(ctx context.Context, file string) (name string, start []byte, err error) {
	if file != "-" {
		f, err := stoppable.Open(ctx, file)
		if err != nil {
			return file, nil, command.FileFailure(err)
		}
		info, err := f.Stat()
		if err != nil || info.Mode().IsRegular() {
			defer f.Close()
			start, readErr := io.ReadAll(io.LimitReader(f, peeked))
			return file, start, command.FileFailure(cmp.Or(err, readErr))
		}
		a.In = stoppable.Reader(ctx, f) // the process closes it
	}
	r := bufio.NewReaderSize(a.In, peeked)
	a.In = r
	start, _ = r.Peek(peeked) // an error comes again when the input is read
	return "-", start, nil
}

// isExport reports whether a file begins with the header of an export.
func isExport(start []byte) bool {
	rows, err := exportRows(bytes.NewReader(start), start)
	if err != nil {
		return false
	}
	header, err := rows.Read()
	return err == nil && columnsOf(header) != nil
}

// exportRows returns the rows of an export, which begins with start, in any encoding that is
// recognized, and with the separator of the program that has saved it.
func exportRows(from io.Reader, start []byte) (*csv.Reader, error) {
	encoding, err := charset.Start(start)
	if err != nil {
		return nil, err
	}
	encoding = cmp.Or(encoding, charset.UTF8)
	for _, separator := range []rune{';', '\t'} {
		rows, err := rowsOf(bytes.NewReader(start), encoding, separator)
		if err != nil {
			return nil, err
		}
		if header, err := rows.Read(); err == nil && columnsOf(header) != nil {
			return rowsOf(from, encoding, separator)
		}
	}
	return rowsOf(from, encoding, ',')
}

func rowsOf(from io.Reader, encoding string, separator rune) (*csv.Reader, error) {
	text, err := charset.Decode(from, encoding)
	if err != nil {
		return nil, err
	}
	rows := csv.NewReader(text)
	rows.Comma, rows.FieldsPerRecord = separator, -1
	return rows, nil
}

// columnsOf returns the number of each column of an export, or nil if the header is another.
func columnsOf(header []string) map[string]int {
	columns := map[string]int{}
	for i, name := range header {
		columns[strings.ToLower(strings.TrimSpace(strings.Trim(name, "\ufeff")))] = i
	}
	for _, name := range exportHeader[:3] {
		if _, there := columns[name]; !there {
			return nil
		}
	}
	return columns
}

// importExport imports an export of this program.
func (a *app) importExport(ctx context.Context, file string, format *output.Format) error {
	in := a.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return command.FileFailure(err)
		}
		defer f.Close()
		in = f
	}
	buffered := bufio.NewReaderSize(in, peeked)
	start, _ := buffered.Peek(peeked)
	rows, err := exportRows(buffered, start)
	if err != nil {
		return exit.Errorf(exit.BadInput, "%s: %w", output.Base(file), err)
	}
	header, err := rows.Read()
	if err != nil {
		return exit.Errorf(exit.BadInput, "%s: %w", output.Base(file), err)
	}
	s, err := command.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	scan := addressScan{app: a.App, name: output.Base(file)}
	var done optoutChange
	for end := false; !end; {
		var chunk []optouts.Exclusion
		if chunk, end, err = scan.exclusions(rows, columnsOf(header), command.KeysAtOnce); err != nil {
			return err
		}
		n, err := s.OptOuts.Import(ctx, chunk)
		if err != nil {
			return err
		}
		done.Changed += n
		done.Unchanged += int64(len(chunk)) - n
	}
	done.Rejected = scan.rejected
	if !format.JSON() {
		fmt.Fprintf(a.Out, "%s imported, %s already there\n", output.Count(done.Changed, "row"),
			output.Thousands(done.Unchanged))
	}
	return a.endChange(done, format)
}

// exclusions reads the next rows of an export, at most most of them, and tells whether they were
// the last. A row that cannot be read is rejected.
func (s *addressScan) exclusions(
	rows *csv.Reader, columns map[string]int, most int,
) (all []optouts.Exclusion, end bool, err error) {
	for len(all) < most {
		row, err := rows.Read()
		var bad *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return all, true, nil
		case errors.As(err, &bad) && bad.Line > bad.StartLine:
			return nil, false, exit.Errorf(exit.BadInput, "%s:%d: a quotation mark opens here and is not closed, so the rows "+
				"behind it cannot be read: correct it, and import the file again", s.name, bad.StartLine)
		case errors.As(err, &bad):
			s.reject(int64(bad.StartLine), bad.Err.Error())
			continue
		case err != nil:
			return nil, false, exit.Usagef("read %s: %w", s.name, command.ReadReason(err))
		}
		line, _ := rows.FieldPos(0)
		e, err := exclusionOf(func(name string) string {
			if i, there := columns[name]; there && i < len(row) {
				return strings.TrimSpace(row[i])
			}
			return ""
		})
		if err != nil {
			s.reject(int64(line), err.Error())
			continue
		}
		all = append(all, e)
	}
	return all, false, nil
}

// exclusionOf reads one row of an export.
func exclusionOf(cell func(name string) string) (e optouts.Exclusion, err error) {
	if e.Address, err = optouts.Key(cell("address")); err != nil {
		return e, fmt.Errorf("the address %w", err)
	}
	if _, err := optouts.ParseScope(cell("scope")); err != nil {
		return e, errors.New("the scope must be all, list:NAME or topic:NAME") // quotes nothing: columns may be mixed up
	}
	e.Scope, e.Reason, e.Mailing = cell("scope"), cell("reason"), cell("mailing")
	if e.Mailing != "" && !naming.ValidID(e.Mailing) {
		return e, errors.New("the mailing is no ID of a mailing")
	}
	e.AddedAt = time.Now()
	if at, err := timeOf("added_at", cell); err != nil {
		return e, err
	} else if at != nil {
		e.AddedAt = *at
	}
	if e.Reason != optouts.Bounced {
		if _, err := optouts.ParseReason(e.Reason); err != nil {
			return e, errors.New("the reason must be asked, complaint, operator, imported or bounced")
		}
		return e, nil
	}
	return suppressionOf(e, cell)
}

func suppressionOf(e optouts.Exclusion, cell func(name string) string) (_ optouts.Exclusion, err error) {
	e.Class, e.Code, e.Count = cmp.Or(cell("class"), string(optouts.Hard)), cell("code"), 1
	switch {
	case e.Class != string(optouts.Hard) && e.Class != string(optouts.Soft):
		return e, errors.New("the class must be hard or soft")
	case strings.HasPrefix(e.Address, "@"):
		return e, errors.New("a whole domain cannot have bounced")
	case e.Scope != string(optouts.All):
		return e, errors.New("the scope of a bounce must be all")
	case len(e.Code) > 16:
		return e, errors.New("the code is no enhanced status code")
	}
	if text := cell("count"); text != "" {
		if e.Count, err = strconv.Atoi(text); err != nil || e.Count < 1 || e.Count > math.MaxInt32 {
			return e, errors.New("the count is no positive number, or too large")
		}
	}
	if e.LastAt, err = timeOf("last_at", cell); err == nil {
		e.Expires, err = timeOf("expires_at", cell)
	}
	return e, err
}

func timeOf(name string, cell func(name string) string) (*time.Time, error) {
	text := cell(name)
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.UTC().Year() < 1 {
		return nil, fmt.Errorf("%s is no time such as 2026-11-30T08:00:00Z", name)
	}
	return &t, nil
}
