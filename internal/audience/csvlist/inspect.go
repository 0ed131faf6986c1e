package csvlist

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"directmailer/internal/audience/charset"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/statuscolumn"
)

// inspect reads all rows. What is not UTF-8 is read again as Windows-1252, if it is that.
func (f *File) inspect(named bool) error {
	s := &inspection{file: f}
	err := s.run()
	if s.encoding == 0 && !isEncoding(err) || named || f.Encoding != charset.UTF8 {
		return err
	}
	letters, line, bad := f.detect()
	switch {
	case errors.Is(bad, charset.ErrMixed) && err != nil:
		return err // it names the lines
	case bad != nil:
		return &Error{File: f.name, Line: line, Err: bad}
	}
	f.Encoding, f.Letters = charset.Windows1252, letters
	s = &inspection{file: f}
	return s.run()
}

func isEncoding(err error) bool {
	var fault *rowFault
	return errors.As(err, &fault) && fault.kind == encodingFault
}

func (f *File) detect() (letters string, line int, err error) {
	file, err := f.from()
	if err != nil {
		return "", 0, cause(err)
	}
	defer file.Close()
	var d charset.Detector
	if _, err := io.Copy(&d, file); err != nil {
		return "", 0, cause(err)
	}
	return d.Windows1252()
}

// inspection is one reading of a file.
type inspection struct {
	file     *File
	faults   Faults
	encoding int // faults that the encoding may explain
	quotes   int
	columns  []*column
	statuses []*statuscolumn.Column
	twice    Warning
	lost     Warning
}

func (s *inspection) run() error {
	r, err := s.file.reader()
	if err != nil {
		return err
	}
	defer r.Close()
	f := s.file
	f.Separator, f.Declared, f.Mapping, f.Rows = r.separator, r.declared == r.separator, r.header.Mapping(), 0
	report := isReport(f.Mapping)
	for _, c := range f.Mapping {
		s.columns = append(s.columns, &column{})
		status := statuscolumn.New(c.Header)
		if report {
			status = statuscolumn.NewForeign(c.Header)
		}
		s.statuses = append(s.statuses, status)
	}
	for {
		row, err := r.scan.next()
		if err == io.EOF {
			return s.end()
		}
		if err != nil {
			if !s.fault(r.rowError(err)) {
				return &s.faults
			}
			continue
		}
		if !blank(row.fields) {
			f.Rows++
			s.add(row)
		}
	}
}

// isReport reports whether the columns are those of a report of ours. Its outcomes say what became
// of a mailing. Who had opted out is among the opt-outs.
func isReport(mapping []member.Column) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(mapping, func(c member.Column) bool { return c.Header == name })
	}
	return has("outcome") && has("attempts") && has("possibly_twice")
}

// fault notes a fault, and reports whether the reading can go on.
func (s *inspection) fault(err error) bool {
	var e *Error
	var fault *rowFault
	errors.As(err, &e)
	s.faults.add(e)
	if !errors.As(err, &fault) {
		return false
	}
	switch fault.kind {
	case encodingFault:
		s.encoding++
	case quoteFault:
		s.quotes++
	}
	s.faults.Perhaps = s.quotes == mostFaults // each of them may have looked through a whole row
	return !s.faults.Perhaps
}

func (s *inspection) add(row *row) {
	whole := len(row.fields) == len(s.columns)
	for i, cell := range row.fields[:min(len(row.fields), len(s.columns))] {
		if cell = strings.TrimSpace(cell); whole {
			s.columns[i].add(cell)
		}
		s.statuses[i].Add(cell)
	}
	for i := len(row.fields); i < len(s.columns); i++ {
		s.statuses[i].Add("")
	}
	if mayBeDamaged(row.raw) {
		s.lookAt(row)
	}
}

// mayBeDamaged reports quickly whether lookAt may find something.
func mayBeDamaged(raw []byte) bool {
	for at := 0; ; {
		n := bytes.IndexByte(raw[at:], 0xc3)
		if n < 0 {
			return bytes.Contains(raw, []byte("\ufffd"))
		}
		at += n + 1
		if at < len(raw) && (raw[at] == 0x82 || raw[at] == 0x83 || raw[at] == 0xa2) { // Â Ã â
			return true
		}
	}
}

// lookAt looks for characters that an earlier program has damaged.
func (s *inspection) lookAt(row *row) {
	for _, c := range []struct {
		damaged func(string) bool
		warning *Warning
	}{{encodedTwice, &s.twice}, {func(v string) bool { return strings.ContainsRune(v, utf8.RuneError) }, &s.lost}} {
		for i, cell := range row.fields {
			if !c.damaged(cell) {
				continue
			}
			if c.warning.Rows++; c.warning.Rows == 1 {
				c.warning.Line, c.warning.Column = row.line, i+1
			}
			break
		}
	}
}

// end takes what the reading has found.
func (s *inspection) end() error {
	if len(s.faults.First) > 0 {
		return &s.faults
	}
	f := s.file
	f.columns, f.Status, f.Warnings = s.columns, nil, nil
	for i, c := range s.statuses {
		if c.Found() {
			f.Status = append(f.Status, c.Report(i+1))
		}
	}
	s.twice.Text = "seems to be encoded twice, as in MÃ¼ller: export the file again, as UTF-8"
	s.lost.Text = "has lost a character (U+FFFD): export the file again, as UTF-8"
	for _, w := range []Warning{s.twice, s.lost} {
		if w.Rows > 0 {
			f.Warnings = append(f.Warnings, w)
		}
	}
	return nil
}
