package audience

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/charset"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/optouts"
	"directmailer/internal/stoppable"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/listfile"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// readAddresses returns the keys of the addresses that the command was given, and how many lines of
// a file were none.
func (a *app) readAddresses(cmd *cobra.Command, file string, args []string) (keys []string, rejected int, err error) {
	switch {
	case file != "" && len(args) > 0:
		return nil, 0, exit.Usagef("give either --file or addresses: %s", command.UsageLine(cmd))
	case file == "-" || file == "" && len(args) == 1 && args[0] == "-":
		return ScanAddresses(a.App, "the standard input", a.In)
	case file != "":
		return scanFile(cmd.Context(), a.App, file)
	case len(args) == 0:
		return nil, 0, exit.Usagef("no address is given: %s", command.UsageLine(cmd))
	}
	for i, arg := range args {
		key, err := optouts.Key(arg)
		if err != nil {
			return nil, 0, exit.Usagef("address %d of the command line %w; nothing was changed", i+1, err)
		}
		keys = append(keys, key)
	}
	return keys, 0, nil
}

// scanFile is ScanAddresses for a file. A list may have any encoding that an import recognizes.
func scanFile(ctx context.Context, a command.App, path string) (keys []string, rejected int, err error) {
	f, err := stoppable.Open(ctx, path)
	if err != nil {
		return nil, 0, command.FileFailure(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && namesColumns(bufio.NewReaderSize(f, peeked)) {
		return scanListFile(ctx, a, path)
	}
	if err == nil && info.Mode().IsRegular() {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, command.FileFailure(err)
	}
	return ScanAddresses(a, output.Base(path), stoppable.Reader(ctx, f))
}

func scanListFile(ctx context.Context, a command.App, path string) (keys []string, rejected int, err error) {
	f, err := listfile.Open(ctx, a, path, csvlist.Options{Status: csvlist.IgnoreStatus})
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	name := output.Base(path)
	for _, c := range f.Status {
		a.Say("starter: warning: %s: %s: each address of the file is taken, also the active", name, output.Clean(c.String()))
	}
	list, err := f.Members()
	if err != nil {
		return nil, 0, listfile.Failure(err)
	}
	defer list.Close()
	s := addressScan{app: a, name: name}
	return s.end(s.list(list))
}

// ScanAddresses reads one address a line, or a list in CSV: its first line names an address column.
func ScanAddresses(a command.App, name string, r io.Reader) (keys []string, rejected int, err error) {
	s := addressScan{app: a, name: name}
	buffered := bufio.NewReaderSize(r, peeked)
	if namesColumns(buffered) {
		list, err := csvlist.NewReader(buffered, name)
		if err != nil {
			return nil, 0, listfile.Failure(err)
		}
		return s.end(s.list(list))
	}
	start, _ := buffered.Peek(peeked) // an error comes again when r is read
	encoding, err := charset.Start(start)
	if err != nil {
		return nil, 0, exit.Errorf(exit.BadInput, "%s: %w", name, err)
	}
	text, err := charset.Decode(buffered, cmp.Or(encoding, charset.UTF8))
	if err != nil {
		return nil, 0, err
	}
	return s.end(s.lines(text))
}

// peeked is how much of a file is looked at to see what it is.
const peeked = 64 << 10

// namesColumns reports whether r begins with the header of a list.
func namesColumns(r *bufio.Reader) bool {
	start, _ := r.Peek(peeked) // an error comes again when r is read
	if bytes.HasPrefix(bytes.TrimSpace(bytes.TrimLeft(start, "\ufeff")), []byte("#")) {
		return false
	}
	_, err := csvlist.NewReader(bytes.NewReader(start), "")
	return err == nil
}

// addressScan collects the addresses of a file. It reports lines that are none by number.
type addressScan struct {
	app      command.App
	name     string
	keys     []string
	rejected int
}

func (s *addressScan) reject(line int64, reason string) {
	if s.rejected++; s.rejected <= listfile.MaxShown {
		s.app.Say("%s:%d: %s", s.name, line, output.Clean(reason))
	}
}

// end returns what was found, unless the reading ended in an error.
func (s *addressScan) end(err error) (keys []string, rejected int, _ error) {
	if err != nil {
		return nil, 0, err
	}
	if s.rejected > listfile.MaxShown {
		s.app.Say("… and %d more", s.rejected-listfile.MaxShown)
	}
	if len(s.keys) == 0 {
		return nil, 0, exit.Errorf(exit.BadInput, "%s has no address in it", s.name)
	}
	return s.keys, s.rejected, nil
}

func (s *addressScan) lines(r io.Reader) error {
	scanner := bufio.NewScanner(r)
	scanner.Split(splitLines)
	for line := int64(1); scanner.Scan(); line++ {
		text := strings.TrimSpace(strings.Trim(scanner.Text(), "\ufeff"))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, err := optouts.Key(text)
		if err != nil {
			s.reject(line, err.Error())
			continue
		}
		s.keys = append(s.keys, key)
	}
	if err := scanner.Err(); err != nil {
		return exit.Usagef("read %s: %w", s.name, command.ReadReason(err))
	}
	return nil
}

// splitLines splits lines as Windows, Unix and old Macs end them.
func splitLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && atEOF && len(data) > 0:
		return len(data), data, nil
	case i < 0, data[i] == '\r' && i+1 == len(data) && !atEOF: // LF may follow
		return 0, nil, nil
	case data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n':
		return i + 2, data[:i], nil
	}
	return i + 1, data[:i], nil
}

func (s *addressScan) list(list *csvlist.Reader) error {
	list.OnReject = func(x member.Reject) { s.reject(x.Position, x.Reason) }
	for {
		m, err := list.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return listfile.Failure(err)
		case m.Taken != "":
			s.reject(m.Position, "the address has "+m.Taken+" before or behind it: give the address alone")
		default:
			s.keys = append(s.keys, m.Address.Key())
		}
	}
}
