package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"unicode"
)

// Limits of a reply. RFC 5321 allows 512 octets a line.
const (
	maxReplyLine  = 4096 // octets; the size of the reader's buffer
	maxReplyLines = 128
	maxReplyText  = 1024 // octets that are kept in Reply.Text
)

// replyBuffer holds a reply. Its memory is reused for the next one.
type replyBuffer struct {
	code     int
	enhanced EnhancedCode
	lines    []byte // without codes, each ended by a line feed
}

// read reads one reply of one or several lines (RFC 5321, section 4.2.1). The buffer of r must have
// room for maxReplyLine octets.
func (b *replyBuffer) read(r *bufio.Reader) error {
	b.code, b.enhanced, b.lines = 0, EnhancedCode{}, b.lines[:0]
	for range maxReplyLines {
		// A line feed alone ends a line as well: some servers leave out the carriage return, and a
		// reply cannot be used for smuggling.
		line, err := r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				return errReply
			}
			return err
		}
		code, last, text, ok := splitLine(bytes.TrimRight(line, "\r\n"))
		if !ok || b.code != 0 && code != b.code {
			return errReply
		}
		b.code = code
		if enhanced, rest, ok := cutEnhanced(text, code); ok {
			if b.enhanced == (EnhancedCode{}) {
				b.enhanced = enhanced
			}
			text = rest
		}
		b.lines = append(append(b.lines, text...), '\n')
		if last {
			return nil
		}
	}
	return errReply
}

// copy returns the reply with memory of its own.
func (b *replyBuffer) copy() Reply {
	text := b.lines[:min(len(b.lines), maxReplyText)]
	for _, octet := range bytes.TrimSuffix(text, []byte{'\n'}) {
		if octet < ' ' || octet > '~' {
			return Reply{b.code, b.enhanced, cleanText(text)}
		}
	}
	return Reply{b.code, b.enhanced, string(bytes.TrimSuffix(text, []byte{'\n'}))}
}

// cleanText returns a server's text as one line that a database and a terminal accept.
func cleanText(text []byte) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), "?"))
	return strings.TrimSpace(clean)
}

// splitLine splits a line of a reply into its code and its text. last is true for the last line of
// the reply.
func splitLine(line []byte) (code int, last bool, text []byte, ok bool) {
	if len(line) < 3 {
		return 0, false, nil, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, nil, false
		}
		code = code*10 + int(c-'0')
	}
	switch {
	case code < 200 || code > 599:
		return 0, false, nil, false
	case len(line) == 3:
		return code, true, nil, true
	case line[3] == ' ', line[3] == '-':
		return code, line[3] == ' ', line[4:], true
	}
	return 0, false, nil, false
}

// cutEnhanced cuts an enhanced status code from the beginning of a reply's text (RFC 2034). A code
// of another class than the reply's is not cut.
func cutEnhanced(text []byte, code int) (e EnhancedCode, rest []byte, ok bool) {
	i := 0
	for part := range e {
		start := i
		for i < len(text) && i-start < 3 && text[i] >= '0' && text[i] <= '9' {
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
	if e[0] != code/100 || i < len(text) && text[i] != ' ' {
		return EnhancedCode{}, text, false
	}
	return e, bytes.TrimLeft(text[i:], " "), true
}
