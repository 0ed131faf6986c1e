package csvlist

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	// maxRow is the length limit of a row, in octets. Without it, a row with a missing quotation
	// mark would be the rest of the file.
	maxRow = 1 << 20
	// bufferSize is also the length limit of what stands before the second row.
	bufferSize = 64 << 10
)

// scanner splits a text into rows (RFC 4180). Lines end with LF, CR LF or CR. A quotation mark in a
// field that does not begin with one is a character as others. Blanks around a field in quotes do
// not count.
type scanner struct {
	from  io.Reader
	comma byte

	buf        []byte
	start, end int // what of buf is not yet read
	err        error
	line       int // that start is in

	row    row
	text   []byte // the fields of a row with quotes, one behind the other
	ends   []int  // of the fields in text
	broken bool   // whether a field has a line break
}

// row is a row as it stands in the file. It is valid until the next one is read.
type row struct {
	line   int // in which it begins
	fields []string
	raw    []byte
	broken bool // whether a field has a line break
}

// rowFault is a fault of one row. The scanner goes on in the next line.
type rowFault struct {
	line    int
	message string
	kind    faultKind
}

type faultKind int

const (
	quoteFault    faultKind = iota // found after looking through up to 1 MiB
	encodingFault                  // perhaps the file has another encoding
	nulFault
)

func (f *rowFault) Error() string { return f.message }

func newScanner(from io.Reader, comma byte) *scanner {
	return &scanner{from: from, comma: comma, buf: make([]byte, bufferSize), line: 1}
}

// fill reads until more than n octets are there, or the text ends.
func (s *scanner) fill(n int) {
	if s.start > 0 {
		copy(s.buf, s.buf[s.start:s.end])
		s.start, s.end = 0, s.end-s.start
	}
	for s.err == nil && s.end <= n {
		if s.end == len(s.buf) {
			s.buf = append(s.buf, make([]byte, min(len(s.buf), maxRow+2*bufferSize-len(s.buf)))...)
		}
		var read int
		read, s.err = s.from.Read(s.buf[s.end:])
		s.end += read
	}
}

// peek returns the next octets, at most bufferSize, and whether they are all that is left.
func (s *scanner) peek() (text []byte, whole bool) {
	s.fill(bufferSize - 1)
	return s.buf[s.start:min(s.end, s.start+bufferSize)], s.err == io.EOF && s.end-s.start <= bufferSize
}

// skip leaves out n octets that are there.
func (s *scanner) skip(n int) { s.start += n }

// next returns the next row, io.EOF after the last, a [*rowFault], or what the reader returned.
func (s *scanner) next() (*row, error) {
	for {
		data := s.buf[s.start:s.end]
		if len(data) == 0 && s.err != nil {
			return nil, s.err
		}
		length, lines, fault := s.parse(data)
		switch {
		case length > maxRow, length == 0 && len(data) > maxRow:
			return nil, s.tooLong()
		case length == 0 && s.err != nil:
			return nil, s.err
		case length == 0: // the row goes on behind what is there
			s.fill(min(max(2*len(data)-1, 0), maxRow))
			continue
		}
		s.start += length
		line := s.line
		s.line += lines
		if fault == nil {
			fault = s.check(data[:length], line)
		}
		if fault != nil {
			return nil, fault
		}
		s.row.line, s.row.raw, s.row.broken = line, data[:length], s.broken
		return &s.row, nil
	}
}

func (s *scanner) tooLong() error {
	f := &rowFault{s.line, tooLong, quoteFault}
	s.skipLine()
	return f
}

const tooLong = "the row that begins here is longer than 1 MiB: is a closing quotation mark missing?"

// skipLine goes to the next line, as far as it is there.
func (s *scanner) skipLine() {
	length, _ := lineEnd(s.buf[s.start:s.end], true)
	if length == 0 {
		length = s.end - s.start
	}
	s.start += length
	s.line++
}

// check refuses what no text has.
func (s *scanner) check(raw []byte, line int) error {
	if bytes.IndexByte(raw, 0) < 0 && utf8.Valid(raw) {
		return nil
	}
	for i, field := range s.row.fields {
		if strings.IndexByte(field, 0) >= 0 {
			return &rowFault{line, fmt.Sprintf(
				"column %d holds a NUL character, so this is not a text: save it as CSV UTF-8", i+1), nulFault}
		}
		if !utf8.ValidString(field) {
			return &rowFault{line, fmt.Sprintf("column %d is not UTF-8: %s", i+1, sayEncoding), encodingFault}
		}
	}
	return &rowFault{line, "is not UTF-8: " + sayEncoding, encodingFault}
}

const sayEncoding = "name its encoding, or save the file as CSV UTF-8"

// parse splits the first row of data into s.row.fields. Length is 0 if the row goes on behind data.
func (s *scanner) parse(data []byte) (length, lines int, err error) {
	s.row.fields, s.broken = s.row.fields[:0], false
	end := bytes.IndexByte(data, '\n')
	line := data
	if end >= 0 {
		line, length = data[:end], end+1
		if end > 0 && line[end-1] == '\r' {
			line = line[:end-1]
		}
	}
	if bytes.IndexByte(line, '"') >= 0 || bytes.IndexByte(line, '\r') >= 0 {
		return s.parseSlowly(data)
	}
	if end < 0 {
		if s.err != io.EOF {
			return 0, 0, nil
		}
		length = len(data)
	}
	text := string(line)
	for at := 0; ; {
		next := bytes.IndexByte(line[at:], s.comma)
		if next < 0 {
			s.row.fields = append(s.row.fields, text[at:])
			return length, 1, nil
		}
		s.row.fields = append(s.row.fields, text[at:at+next])
		at += next + 1
	}
}

// lineEnd returns the length of the first line of data with its end, and of the end alone. Length
// is 0 if the line goes on behind data.
func lineEnd(data []byte, whole bool) (length, end int) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0:
		return 0, 0
	case data[i] == '\n':
		return i + 1, 1
	case i+1 == len(data) && !whole:
		return 0, 0 // LF may follow
	case i+1 < len(data) && data[i+1] == '\n':
		return i + 2, 2
	}
	return i + 1, 1
}
