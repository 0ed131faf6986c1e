// Package csvlist reads a list of people from a CSV file (RFC 4180), row by row. Its memory does
// not grow with the file.
//
// The file is UTF-8, with or without a byte order mark. Commas, semicolons or tabs separate the
// columns: the one that the header has most of. The first line names the columns. One of them holds
// the e-mail address; the others become the fields of templates (see [member.FieldName]): "First
// name" is {{.first_name}}.
//
// A fault of the whole file (its encoding, its quotes, its header) ends the reading with an
// [*Error]. A row that cannot be used becomes a [member.Reject], and the reading goes on. Neither
// quotes an address.
package csvlist

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"directmailer/internal/audience/member"
)

const (
	// maxRow is the length limit of a row, in octets. Without it, a row with a missing quotation
	// mark would be the rest of the file.
	maxRow = 1 << 20
	// bufferSize is also the length limit of the header.
	bufferSize = 64 << 10
)

// Error is a fault of the whole file. Line is 0 if no line can be named.
type Error struct {
	File string
	Line int
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Reader reads members. Only BytesRead is safe for concurrent use.
type Reader struct {
	// OnReject, if set, is called for every row that is left out.
	OnReject func(member.Reject)
	// OnPasted, if set, is called for every row that loses marks around its address.
	OnPasted func(member.Pasted)

	name     string
	closer   io.Closer
	size     int64
	input    *meter
	csv      *csv.Reader
	header   member.Header
	rejected int64
	line     int // in which the latest row begins
	buf      []byte
	err      error // that ended the reading
}

// Open opens the file and reads its header. Any error is an [*Error].
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{File: path, Err: cause(err)}
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a folder, not a file")
	}
	if err != nil {
		f.Close()
		return nil, &Error{File: path, Err: cause(err)}
	}
	r, err := NewReader(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.closer = f
	if info.Mode().IsRegular() {
		r.size = info.Size()
	}
	return r, nil
}

// cause returns the error without the path, which [Error] names already.
func cause(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &reason{"there is no such file", err}
	case errors.Is(err, fs.ErrPermission):
		return &reason{"may not be read: permission denied", err}
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// reason is err in other words.
type reason struct {
	words string
	err   error
}

func (r *reason) Error() string { return r.words }
func (r *reason) Unwrap() error { return r.err }

// NewReader reads the header of a list from input. Errors call the list by name. Any error is an
// [*Error].
func NewReader(input io.Reader, name string) (*Reader, error) {
	r := &Reader{name: name, input: &meter{from: input}}
	r.input.allow(bufferSize)
	buffered := bufio.NewReaderSize(r.input, bufferSize)
	comma, err := sniff(buffered)
	if err == errEmpty {
		return nil, r.fail(0, err)
	}
	if err != nil {
		return nil, r.fail(1, err)
	}
	r.csv = csv.NewReader(buffered)
	r.csv.Comma = comma
	r.csv.FieldsPerRecord = -1
	r.csv.ReuseRecord = true
	names, err := r.row()
	if err == io.EOF {
		return nil, r.fail(0, errEmpty)
	}
	if err != nil {
		return nil, err
	}
	if r.header, err = member.ReadHeader(names); err != nil {
		return nil, r.fail(r.line, err)
	}
	return r, nil
}

// Columns returns the names of the fields that templates see, in the order of the file.
func (r *Reader) Columns() []string { return r.header.Columns() }

// Mapping returns what becomes of each column of the file.
func (r *Reader) Mapping() []member.Column { return r.header.Mapping() }

// Next returns the next member, io.EOF after the last, or an [*Error] that ends the reading. The
// member's attributes are valid until the next call.
func (r *Reader) Next() (member.Member, error) {
	for {
		fields, err := r.row()
		if err != nil {
			return member.Member{}, err
		}
		m, reason := r.header.Member(int64(r.line), r.buf[:0], fields)
		if r.buf = m.Attributes; reason == "" {
			if m.Taken != "" && r.OnPasted != nil {
				r.OnPasted(member.Pasted{Position: m.Position, Taken: m.Taken})
			}
			return m, nil
		}
		r.rejected++
		if r.OnReject != nil {
			r.OnReject(member.Reject{Position: int64(r.line), Reason: reason})
		}
	}
}

// Rejected returns the number of rows left out so far.
func (r *Reader) Rejected() int64 { return r.rejected }

// BytesRead returns how many octets of the file have been read.
func (r *Reader) BytesRead() int64 { return r.input.total.Load() }

// Size returns the size of the file in octets, or 0 if it is not known.
func (r *Reader) Size() int64 { return r.size }

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// row returns the fields of the next row that is not blank.
func (r *Reader) row() ([]string, error) {
	for r.err == nil {
		r.input.allow(maxRow)
		fields, err := r.csv.Read()
		if err != nil {
			r.err = r.readError(err)
			break
		}
		r.line, _ = r.csv.FieldPos(0)
		if err := r.check(fields); err != nil {
			r.err = err
			break
		}
		if !blank(fields) {
			return fields, nil
		}
	}
	return nil, r.err
}

func (r *Reader) readError(err error) error {
	var syntax *csv.ParseError
	switch {
	case err == io.EOF:
		return io.EOF
	case errors.Is(err, errLong):
		return r.fail(0, fmt.Errorf(
			"the row after line %d is longer than 1 MiB: is a closing quotation mark missing?", r.line))
	case !errors.As(err, &syntax):
		return r.fail(0, cause(err))
	case errors.Is(syntax.Err, csv.ErrBareQuote):
		return r.fail(syntax.Line, errors.New(`has a quotation mark (") inside a field that does not begin with one: `+
			`put the field in quotes and double the mark in it`))
	case syntax.StartLine != syntax.Line:
		return r.fail(
			syntax.StartLine,
			fmt.Errorf(`the row that begins here has a quotation mark (") that is not closed, `+
				`or text after one that is; noticed in line %d`, syntax.Line),
		)
	case errors.Is(syntax.Err, csv.ErrQuote):
		return r.fail(syntax.Line, errors.New(
			`has a quotation mark (") that is not closed, or text after one that is`))
	}
	return r.fail(syntax.Line, syntax.Err)
}

// check refuses what no text file has. It is a fault of the file, not of the row.
func (r *Reader) check(fields []string) error {
	for i, field := range fields {
		if strings.IndexByte(field, 0) >= 0 {
			line, _ := r.csv.FieldPos(i)
			return r.fail(line, fmt.Errorf(
				"column %d holds a NUL character, so this is not a text: save it as CSV in UTF-8", i+1))
		}
		if !utf8.ValidString(field) {
			line, _ := r.csv.FieldPos(i)
			return r.fail(line, fmt.Errorf("column %d is not UTF-8: save the file as CSV in UTF-8", i+1))
		}
	}
	return nil
}

func (r *Reader) fail(line int, err error) error { return &Error{File: r.name, Line: line, Err: err} }

func blank(fields []string) bool {
	for _, field := range fields {
		if strings.TrimSpace(field) != "" {
			return false
		}
	}
	return true
}

// meter counts what it reads, and refuses to read more than allow permits.
type meter struct {
	from  io.Reader
	total atomic.Int64
	left  int
}

var errLong = errors.New("the row is too long")

// allow permits n more octets. What a buffer holds already does not count.
func (m *meter) allow(n int) { m.left = n }

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errLong
	}
	n, err := m.from.Read(p)
	m.left -= n
	m.total.Add(int64(n))
	return n, err
}
