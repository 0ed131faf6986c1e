package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"strings"

	"directmailer/internal/foreign"
)

// Limits of a reply. RFC 5321 allows 512 octets a line, and many servers write more. A reply that
// goes on behind a limit is not read further: its code counts, and the connection is closed.
const (
	readerSize     = 4096    // octets of the reader's buffer, and of a line that are kept
	maxReplyOctets = 1 << 20 // of a whole reply
	maxReplyLines  = 4096
	maxReplyKept   = 64 << 10 // octets of text that are kept for readExtensions
	maxReplyText   = 1024     // octets of text that are kept in Reply.Text
	codeSize       = 3
)

// replyBuffer holds a reply. Its memory is reused for the next one.
type replyBuffer struct {
	code     int
	enhanced EnhancedCode
	lines    []byte // without codes, each ended by a line feed
	// unclear is true if it is not known where the reply ends. The code counts, but what comes next
	// on the connection may be the rest of this reply or the answer to another command.
	unclear bool
	long    []byte // the beginning of a line that is longer than the reader's buffer
}

// read reads one reply of one or several lines (RFC 5321, section 4.2.1). The first three digits
// decide. So read takes whatever else a server writes, and returns nil as soon as they are known.
// If the rest never comes, the reply is unclear.
func (b *replyBuffer) read(r *bufio.Reader) error {
	b.code, b.enhanced, b.lines, b.unclear = 0, EnhancedCode{}, b.lines[:0], false
	left := maxReplyOctets
	for range maxReplyLines {
		line, size, err := b.readLine(r, left)
		if size == 0 {
			return b.cutShort(err)
		}
		left -= size
		more, taken := b.add(line)
		switch {
		case taken && !more:
			b.unclear = b.unclear || err != nil
			return nil
		case err != nil:
			return b.cutShort(err)
		case !taken || left <= 0:
			return b.cutShort(errReply)
		}
	}
	return b.cutShort(errReply)
}

// cutShort ends a reply that has no end. It returns err if the code is not known either.
func (b *replyBuffer) cutShort(err error) error {
	if b.code == 0 {
		return err
	}
	b.unclear = true
	return nil
}

// readLine reads a line, of at most limit octets, and returns its beginning and its size. A line
// feed alone ends a line as well: some servers leave out the carriage return, and a reply cannot be
// used for smuggling.
func (b *replyBuffer) readLine(r *bufio.Reader, limit int) (line []byte, size int, err error) {
	line, err = r.ReadSlice('\n')
	size = len(line)
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, size, err
	}
	b.long = append(b.long[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) && size < limit {
		line, err = r.ReadSlice('\n')
		size += len(line)
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		err = errReply
	}
	return b.long, size, err
}

// add takes a line of the reply. more is true if another line must follow. taken is false if the
// reply cannot begin with this line. Blank lines before a reply belong to the reply before it.
func (b *replyBuffer) add(line []byte) (more, taken bool) {
	line = bytes.TrimRight(line, "\r\n")
	code, separator, text := splitLine(line)
	switch {
	case b.code == 0 && code == 0:
		return true, isBlank(line)
	case b.code == 0:
		b.code = code
	case code == 0, separator == otherText: // a line without a code inside the reply
		b.keep(line)
		return true, true
	case code/100 != b.code/100:
		b.unclear = true
	}
	if enhanced, rest, ok := cutEnhanced(text, b.code); ok {
		if b.enhanced == (EnhancedCode{}) {
			b.enhanced = enhanced
		}
		text = rest
	}
	b.keep(text)
	return separator == moreFollows, true
}

// keep keeps the text of a line.
func (b *replyBuffer) keep(text []byte) {
	if len(b.lines)+len(text) < maxReplyKept {
		b.lines = append(append(b.lines, text...), '\n')
	}
}

// copy returns the reply with memory of its own.
func (b *replyBuffer) copy() Reply {
	text := bytes.TrimLeft(b.lines, " \n")
	text = bytes.TrimRight(text[:min(len(text), maxReplyText)], " \n")
	for _, octet := range text {
		if octet < ' ' || octet > '~' {
			return Reply{b.code, b.enhanced, strings.TrimSpace(foreign.Clean(string(text)))}
		}
	}
	return Reply{b.code, b.enhanced, string(text)}
}

// separator is what stands between a line's code and its text.
type separator int

const (
	lastLine    separator = iota // a blank, a tab, or the end of the line
	moreFollows                  // a hyphen
	otherText                    // anything else
)

// splitLine splits a line of a reply into its code and its text. The code is 0 if the line does not
// begin with one.
func splitLine(line []byte) (code int, after separator, text []byte) {
	if len(line) < 3 || len(line) > 3 && isDigit(line[3]) {
		return 0, otherText, nil
	}
	for _, c := range line[:3] {
		if !isDigit(c) {
			return 0, otherText, nil
		}
		code = code*10 + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, otherText, nil
	}
	text = line[3:]
	switch {
	case len(text) == 0:
		return code, lastLine, text
	case text[0] == '-':
		return code, moreFollows, bytes.TrimLeft(text[1:], " \t")
	case isBlank(text[:1]):
		return code, lastLine, bytes.TrimLeft(text, " \t")
	}
	return code, otherText, text
}

// cutEnhanced cuts an enhanced status code from the beginning of a reply's text (RFC 2034). A code
// of another class than the reply's is not cut.
func cutEnhanced(text []byte, code int) (e EnhancedCode, rest []byte, ok bool) {
	i := 0
	for part := range e {
		start := i
		for i < len(text) && i-start < 3 && isDigit(text[i]) {
			e[part] = e[part]*10 + int(text[i]-'0')
			i++
		}
		if i == start || part == 0 && i > 1 {
			return EnhancedCode{}, text, false
		}
		if part < 2 {
			if i == len(text) || text[i] != '.' {
				return EnhancedCode{}, text, false
			}
			i++
		}
	}
	if e[0] != code/100 || i < len(text) && !isBlank(text[i:i+1]) {
		return EnhancedCode{}, text, false
	}
	return e, bytes.TrimLeft(text[i:], " \t"), true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isBlank(line []byte) bool { return len(bytes.Trim(line, " \t")) == 0 }
