// Package csvlist reads a list of people from a CSV file (RFC 4180), row by row. Its memory does
// not grow with the file.
//
// [Inspect] reads the file once as a whole: it finds its encoding, its separator, its header, the
// kinds of its columns, and every fault of the whole file. [File.Rows] then reads its members.
// [NewReader] does without the first reading. It takes UTF-8 and UTF-16 only.
//
// Commas, semicolons, tabs or bars separate the columns. The first line names the columns. One of
// them holds the e-mail address; the others become the fields of templates (see
// [member.FieldName]).
//
// A fault of the whole file (its encoding, its quotes, its header) ends the reading with an
// [*Error] or [*Faults]. A row that cannot be used becomes a [member.Reject], and the reading goes
// on. Neither quotes an address.
package csvlist

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"sync/atomic"

	"directmailer/internal/audience/charset"
	"directmailer/internal/audience/field"
	"directmailer/internal/audience/member"
)

// Reader reads members. Only BytesRead is safe for concurrent use.
type Reader struct {
	// OnReject, if set, is called for every row that is left out because it cannot be used.
	OnReject func(member.Reject)
	// OnPasted, if set, is called for every row that loses marks around its address.
	OnPasted func(member.Pasted)

	// WithInactive returns the rows that a status column leaves out, too, marked as inactive.
	WithInactive bool

	name      string
	closer    io.Closer
	size      int64
	input     *meter
	scan      *scanner
	separator byte
	declared  byte // the separator that a line sep= names
	header    member.Header
	columns   []*column    // what the first reading says of them; empty without one
	status    statusFilter // who is left out by the columns that say who may be mailed
	rejected  int64
	filled    int64
	active    int64
	short     []string // a row that is filled up
	buf       []byte
	changed   func() bool // whether the file is another one by now; nil: nobody knows
	err       error       // that ended the reading
}

// NewReader reads the header of a list from input. Errors call the list by name. Any error is an
// [*Error].
func NewReader(input io.Reader, name string) (*Reader, error) {
	metered := &meter{from: input}
	start := make([]byte, bufferSize)
	n, err := io.ReadFull(metered, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, &Error{File: name, Err: cause(err)}
	}
	encoding, bad := charset.Start(start[:n])
	if bad != nil {
		return nil, &Error{File: name, Line: 1, Err: bad}
	}
	if encoding == "" {
		encoding = charset.UTF8
	}
	return newReader(metered, io.MultiReader(bytes.NewReader(start[:n]), metered), name, encoding)
}

// newReader reads the header from input, which is what metered reads, or that and more.
func newReader(metered *meter, input io.Reader, name, encoding string) (*Reader, error) {
	text, err := charset.Decode(input, encoding)
	if err != nil {
		return nil, &Error{File: name, Err: err}
	}
	r := &Reader{name: name, input: metered, scan: newScanner(text, ',')}
	if err := r.readLayout(); err != nil {
		return nil, err
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
		row, err := r.row()
		if err != nil {
			return member.Member{}, err
		}
		fields, filled, reason := r.fit(row)
		inactive := reason == "" && !r.status.admits(fields)
		m := member.Member{}
		if reason == "" {
			m, reason = r.header.Member(int64(row.line), r.buf[:0], fields)
			r.buf = m.Attributes
		}
		switch {
		case inactive && (reason != "" || !r.WithInactive):
			continue
		case inactive:
			m.Inactive = true
			return m, nil
		case reason != "" && filled:
			reason = r.header.Misfit(len(row.fields))
		case reason == "":
			r.took(m, filled)
			return m, nil
		}
		r.rejected++
		if r.OnReject != nil {
			r.OnReject(member.Reject{Position: int64(row.line), Reason: reason})
		}
	}
}

func (r *Reader) took(m member.Member, filled bool) {
	r.active++
	if filled {
		r.filled++
	}
	if m.Taken != "" && r.OnPasted != nil {
		r.OnPasted(member.Pasted{Position: m.Position, Taken: m.Taken})
	}
}

// Rejected returns the number of rows so far that are left out because they cannot be used.
func (r *Reader) Rejected() int64 { return r.rejected }

// Filled returns the number of rows so far whose last cells were missing.
func (r *Reader) Filled() int64 { return r.filled }

// Active returns the number of members so far who may be mailed.
func (r *Reader) Active() int64 { return r.active }

// LeftOut returns the number of rows so far that are left out because of a column that says who may
// be mailed, by column and value.
func (r *Reader) LeftOut() []LeftOut { return r.status.counts() }

// BytesRead returns how many octets of the file have been read.
func (r *Reader) BytesRead() int64 { return r.input.total.Load() }

// Size returns the size of the file in octets, or 0 if it is not known.
func (r *Reader) Size() int64 { return r.size }

// Close closes the file that it reads, if [File.Rows] opened it.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// row returns the next row that is not blank.
func (r *Reader) row() (*row, error) {
	for r.err == nil {
		row, err := r.scan.next()
		if err != nil {
			r.err = r.rowError(err)
			break
		}
		if !blank(row.fields) {
			return row, nil
		}
	}
	return nil, r.err
}

func (r *Reader) rowError(err error) error {
	var fault *rowFault
	switch {
	case err == io.EOF:
		return cmp.Or(r.unchanged(), io.EOF)
	case errors.As(err, &fault):
		return r.fail(fault.line, fault)
	}
	return r.fail(0, cause(err))
}

// unchanged returns an error if the file has changed. The last row of a file that is still written
// may be a part of a row.
func (r *Reader) unchanged() error {
	if r.changed != nil && r.changed() {
		return r.fail(0, errors.New("changes while it is read: try again"))
	}
	return nil
}

func (r *Reader) fail(line int, err error) error { return &Error{File: r.name, Line: line, Err: err} }

func blank(fields []string) bool {
	for _, cell := range fields {
		if field.Trim(cell) != "" { // the last octet of a file of DOS is Ctrl-Z
			return false
		}
	}
	return true
}

// meter counts what it reads.
type meter struct {
	from  io.Reader
	total atomic.Int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.total.Add(int64(n))
	return n, err
}
