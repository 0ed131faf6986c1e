package audience

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/member"
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
		f, err := os.Open(file)
		if err != nil {
			return nil, 0, command.FileFailure(err)
		}
		defer f.Close()
		return ScanAddresses(a.App, output.Base(file), f)
	case len(args) == 0:
		return nil, 0, exit.Usagef("no address is given: %s", command.UsageLine(cmd))
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

// ScanAddresses reads one address a line, or a list in CSV: its first line names an address column.
func ScanAddresses(a command.App, name string, r io.Reader) (keys []string, rejected int, err error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	reject := func(line int64, reason string) {
		if rejected++; rejected <= listfile.MaxShown {
			a.Say("%s:%d: %s", name, line, output.Clean(reason))
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
	if rejected > listfile.MaxShown {
		a.Say("… and %d more", rejected-listfile.MaxShown)
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
		return nil, exit.Usagef("read %s: %w", name, command.ReadReason(err))
	}
	return keys, nil
}

func scanList(name string, r io.Reader, reject func(int64, string)) (keys []string, err error) {
	list, err := csvlist.NewReader(r, name)
	if err != nil {
		return nil, listfile.Failure(err)
	}
	list.OnReject = func(x member.Reject) { reject(x.Position, x.Reason) }
	for {
		m, err := list.Next()
		switch {
		case err == io.EOF:
			return keys, nil
		case err != nil:
			return nil, listfile.Failure(err)
		case m.Taken != "":
			reject(m.Position, "the address has "+m.Taken+" before or behind it: give the address alone")
		default:
			keys = append(keys, m.Address.Key())
		}
	}
}
