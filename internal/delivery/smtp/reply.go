package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"unicode"
)

// Bounds of what a server may say in one reply; RFC 5321 has 512 octets a line.
const (
	maxReplyLine  = 4096 // octets; the reader's buffer
	maxReplyLines = 128
	maxReplyText  = 1024 // octets kept of it in Reply.Text
)

// answer is a reply as it is read: its room is used again for the next one.
type answer struct {
	code     int
	enhanced EnhancedCode
	lines    []byte // without codes, each ended by a line feed
}

// read reads one reply, of several lines perhaps (RFC 5321, 4.2.1). r must have room for maxReplyLine octets.
func (a *answer) read(r *bufio.Reader) error {
	a.code, a.enhanced, a.lines = 0, EnhancedCode{}, a.lines[:0]
	for range maxReplyLines {
		// Line feeds alone end lines as well: servers that are careless about the carriage return exist, and nothing can be smuggled here.
		line, err := r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				return errReply
			}
			return err
		}
		code, last, text, ok := splitLine(bytes.TrimRight(line, "\r\n"))
		if !ok || a.code != 0 && code != a.code {
			return errReply
		}
		a.code = code
		if enhanced, rest, ok := cutEnhanced(text, code); ok {
			if a.enhanced == (EnhancedCode{}) {
				a.enhanced = enhanced
			}
			text = rest
		}
		a.lines = append(append(a.lines, text...), '\n')
		if last {
			return nil
		}
	}
	return errReply
}

// reply makes a Reply that outlives the answer.
func (a *answer) reply() Reply {
	text := a.lines[:min(len(a.lines), maxReplyText)]
	for _, b := range bytes.TrimSuffix(text, []byte{'\n'}) {
		if b < ' ' || b > '~' {
			return Reply{a.code, a.enhanced, cleanText(text)}
		}
	}
	return Reply{a.code, a.enhanced, string(bytes.TrimSuffix(text, []byte{'\n'}))}
}

// cleanText makes of whatever a server said one line of text that a database and a terminal can take.
func cleanText(text []byte) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), "?"))
	return strings.TrimSpace(clean)
}

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

// cutEnhanced takes an enhanced status code of the reply's own class off the front of its text (RFC 2034).
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
