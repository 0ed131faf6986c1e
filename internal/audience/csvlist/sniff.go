package csvlist

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

var (
	errEmpty = errors.New("is empty: the first line must name the columns")
	errUTF16 = errors.New("is UTF-16 or no text at all: save it as CSV in UTF-8")
)

// sniff skips a byte order mark and returns the character that separates the columns. It refuses
// what is no CSV file in UTF-8.
func sniff(r *bufio.Reader) (comma rune, err error) {
	start, err := r.Peek(bufferSize)
	if len(start) == 0 && err == io.EOF {
		return 0, errEmpty
	}
	if err != nil && err != io.EOF && !errors.Is(err, errLong) {
		return 0, cause(err)
	}
	if bytes.HasPrefix(start, []byte("\xff\xfe")) || bytes.HasPrefix(start, []byte("\xfe\xff")) {
		return 0, errUTF16
	}
	if bytes.HasPrefix(start, []byte("\xef\xbb\xbf")) {
		_, _ = r.Discard(3)
		start = start[3:]
	}
	line, complete := firstLine(start)
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return 0, errUTF16
	case !complete && err == nil:
		return 0, errors.New("the first line is longer than 64 KiB: it must name the columns")
	case bytes.IndexByte(bytes.TrimRight(line, "\r"), '\r') >= 0:
		return 0, errors.New(
			"has lines that end with a carriage return alone: save it with the line ends of Windows or Unix",
		)
	}
	return separator(line), nil
}

// firstLine returns the first line that is not blank. A line break in quotes does not end it.
func firstLine(b []byte) (line []byte, complete bool) {
	b = bytes.TrimLeft(b, "\r\n")
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\n' && !quoted:
			return b[:i], true
		}
	}
	return b, false
}

// separator returns the one of tab, semicolon and comma that the line has most of outside quotes.
func separator(line []byte) rune {
	var n [utf8.RuneSelf]int
	quoted := false
	for _, c := range line {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted && c < utf8.RuneSelf {
			n[c]++
		}
	}
	best := ','
	for _, c := range ";\t" {
		if n[c] > n[best] {
			best = c
		}
	}
	return best
}
