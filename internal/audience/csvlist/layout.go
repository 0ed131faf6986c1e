package csvlist

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"directmailer/internal/audience/member"
)

var errEmpty = errors.New("is empty: the first line must name the columns")

// separators are the characters that may separate columns. If two of them make as many columns, the
// first one is taken.
const separators = ",;\t|"

// separatorLine is the first line of a file by which Excel knows the separator: sep=;
var separatorLine = regexp.MustCompile(`(?i)^[\r\n]*"?sep=([!#-/:-@[-\x60{-~\t])"?[,;\t|]*(\r\n|\n|\r|$)`)

const mark = "\ufeff"

// readLayout finds the separator and the header at the start of the text. It leaves the scanner at
// the first row behind the header.
func (r *Reader) readLayout() error {
	start, whole := r.scan.peek()
	if err := r.scan.err; err != nil && !whole && len(start) == 0 {
		return r.fail(0, cause(err))
	}
	candidates := []byte(separators)
	for skipped := 0; ; skipped = 0 {
		for ; bytes.HasPrefix(start[skipped:], []byte(mark)); skipped += len(mark) {
		}
		if m := separatorLine.FindSubmatch(start[skipped:]); m != nil {
			candidates = append([]byte{m[1][0]}, candidates...)
			skipped += len(m[0])
			r.scan.line += countLines(m[0])
			r.declared = m[1][0]
		}
		if skipped == 0 {
			break
		}
		r.scan.skip(skipped)
		start = start[skipped:]
	}
	l := layout{start: start, whole: whole, line: r.scan.line}
	if err := l.choose(candidates); err != nil {
		return r.fail(err.Line, err.Err)
	}
	r.scan.comma, r.separator, r.header = l.comma, l.comma, l.header
	for {
		row, err := r.scan.next()
		if err != nil {
			return r.rowError(err)
		}
		if row.line == l.headerLine {
			return nil
		}
	}
}

func countLines(text []byte) (n int) {
	for {
		length, _ := lineEnd(text, true)
		if length == 0 {
			return n
		}
		text = text[length:]
		n++
	}
}

// layout is how the start of a file is divided into columns.
type layout struct {
	start []byte
	whole bool // whether start is the whole file
	line  int  // that start begins in

	comma      byte
	header     member.Header
	headerLine int
}

// choose takes the separator that makes an address column, and of several the one that makes the
// most columns. The candidates are in the order of preference.
func (l *layout) choose(candidates []byte) *Error {
	best, why := 0, refusal{columns: -1, err: errEmpty}
	for i, comma := range candidates {
		rows, lines, fault := l.rows(comma)
		if fault != nil {
			why = why.or(refusal{err: fault, line: l.line})
		}
		if len(rows) == 0 {
			continue
		}
		header, err := member.ReadHeader(rows[0])
		if err != nil {
			why = why.or(refuse(rows, lines, err))
			continue
		}
		if n := len(rows[0]); n > best {
			best, l.comma, l.header, l.headerLine = n, comma, header, lines[0]
		}
		if declared := i == 0 && len(candidates) > len(separators); declared {
			break
		}
	}
	if best > 0 {
		return nil
	}
	return &Error{Line: why.line, Err: why.err}
}

// refusal says why the start of a file has no header.
type refusal struct {
	line    int
	columns int
	found   bool // whether a later line is a header
	err     error
}

// or returns the better reason: that a later line is a header, else the one with more columns.
func (r refusal) or(other refusal) refusal {
	if other.found && !r.found || other.found == r.found && other.columns > r.columns {
		return other
	}
	return r
}

func refuse(rows [][]string, lines []int, err error) refusal {
	for i := 1; i < len(rows); i++ {
		if _, bad := member.ReadHeader(rows[i]); bad == nil {
			return refusal{lines[0], len(rows[0]), true, fmt.Errorf(
				"does not name the columns, but line %d does: delete what stands above line %d", lines[i], lines[i])}
		}
	}
	return refusal{lines[0], len(rows[0]), false, err}
}

// rows returns the first rows that are not blank, with the lines that they begin in, or why there
// is none.
func (l *layout) rows(comma byte) (rows [][]string, lines []int, fault error) {
	s := newScanner(bytes.NewReader(l.start), comma)
	s.line = l.line
	for len(rows) < 10 {
		row, err := s.next()
		cut := !l.whole && s.start == s.end && s.err != nil // it may go on behind what is there
		if err != nil || cut {
			fault = err
			if cut || err == io.EOF && !l.whole {
				fault = errors.New("the first line is longer than 64 KiB: it must name the columns")
			}
			break
		}
		if !blank(row.fields) {
			rows, lines = append(rows, slices.Clone(row.fields)), append(lines, row.line)
		}
	}
	if fault == io.EOF || len(rows) > 0 {
		fault = nil
	}
	return rows, lines, fault
}
