package csvlist

import (
	"bytes"
	"io"
)

const (
	openQuote = `has a quotation mark (") that is not closed: close it, or double it inside a field`
	lateText  = `has text after a closing quotation mark ("): double each mark inside a field`
)

// parseSlowly is parse for rows with quotation marks or carriage returns.
func (s *scanner) parseSlowly(data []byte) (length, lines int, err error) {
	s.text, s.ends = s.text[:0], s.ends[:0]
	whole := s.err == io.EOF
	for at, line := 0, 0; ; {
		var breaks int
		var state fieldEnd
		at, breaks, state = s.field(data, at, whole)
		line += breaks
		switch state {
		case cutOff:
			return 0, 0, nil
		case faulty, unclosed:
			message := lateText
			if state == unclosed {
				message = openQuote
			}
			length, _ = lineEnd(data, true)
			if length == 0 {
				length = len(data)
			}
			s.takeFields()
			return length, 1, &rowFault{s.line, message, quoteFault}
		case rowEnds:
			s.takeFields()
			return at, line + 1, nil
		}
	}
}

// takeFields makes the row's fields of the text.
func (s *scanner) takeFields() {
	text, from := string(s.text), 0
	for _, end := range s.ends {
		s.row.fields = append(s.row.fields, text[from:end])
		from = end
	}
}

// fieldEnd is how a field ends.
type fieldEnd int

const (
	fieldEnds fieldEnd = iota
	rowEnds
	cutOff   // it goes on behind the data
	faulty   // text follows the closing quotation mark
	unclosed // a quotation mark is not closed
)

// field appends the field at a place to the text. It returns the place behind it and its end, and
// the number of line breaks in it.
func (s *scanner) field(data []byte, at int, whole bool) (next, breaks int, state fieldEnd) {
	begin := at
	for begin < len(data) && (data[begin] == ' ' || data[begin] == '\t' && s.comma != '\t') {
		begin++
	}
	if begin < len(data) && data[begin] == '"' {
		return s.quoted(data, begin+1, whole)
	}
	end := at
	for end < len(data) && data[end] != s.comma && data[end] != '\n' && data[end] != '\r' {
		end++
	}
	next, state = s.behind(data, end, whole)
	if state != cutOff {
		s.text = append(s.text, data[at:end]...)
		s.ends = append(s.ends, len(s.text))
	}
	return next, 0, state
}

// behind reads what ends a field at a place: a comma, a line end, or the end of the text.
func (s *scanner) behind(data []byte, at int, whole bool) (next int, state fieldEnd) {
	switch {
	case at == len(data) && whole:
		return at, rowEnds
	case at == len(data):
		return at, cutOff
	case data[at] == s.comma:
		return at + 1, fieldEnds
	case data[at] != '\r' && data[at] != '\n':
		return at, faulty
	}
	length, _ := lineEnd(data[at:], whole)
	if length == 0 {
		return at, cutOff
	}
	return at + length, rowEnds
}

// quoted is field for one in quotation marks. The place is behind the first of them.
func (s *scanner) quoted(data []byte, at int, whole bool) (next, breaks int, state fieldEnd) {
	for {
		n := bytes.IndexByte(data[at:], '"')
		switch {
		case n < 0 && whole:
			return at, 0, unclosed
		case n < 0:
			return at, 0, cutOff
		}
		breaks += s.appendLines(data[at : at+n])
		at += n + 1
		if at < len(data) && data[at] == '"' {
			s.text = append(s.text, '"')
			at++
			continue
		}
		break
	}
	for at < len(data) && (data[at] == ' ' || data[at] == '\t' && s.comma != '\t') {
		at++
	}
	next, state = s.behind(data, at, whole)
	s.ends = append(s.ends, len(s.text))
	s.broken = s.broken || breaks > 0
	if state == faulty && breaks > 0 {
		state = unclosed // the mark that seems to close the field opens another one
	}
	return next, breaks, state
}

// appendLines appends a text to the fields' text. Its line ends become LF. It returns their number.
func (s *scanner) appendLines(part []byte) (breaks int) {
	for {
		length, end := lineEnd(part, true)
		if length == 0 {
			s.text = append(s.text, part...)
			return breaks
		}
		s.text = append(append(s.text, part[:length-end]...), '\n')
		part = part[length:]
		breaks++
	}
}
