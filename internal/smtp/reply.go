package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// Bounds of what a server may say in one reply; RFC 5321 has 512 octets a line.
const (
	maxReplyLine  = 4096
	maxReplyLines = 128
	maxReplyText  = 2048 // octets kept
)

var errReply = errors.New("the server's answer is not SMTP")

// readReply reads one reply, of several lines perhaps (RFC 5321, 4.2.1).
func readReply(r *bufio.Reader) (reply Reply, lines []string, err error) {
	var text strings.Builder
	for n := 0; n < maxReplyLines; n++ {
		line, err := readLine(r)
		if err != nil {
			return Reply{}, nil, err
		}
		code, last, rest, ok := splitLine(line)
		if !ok || n > 0 && code != reply.Code {
			return Reply{}, nil, errReply
		}
		reply.Code = code
		if e, after, ok := cutEnhanced(rest, code); ok {
			reply.Enhanced, rest = e, after
		}
		if text.Len()+len(rest) < maxReplyText {
			if text.Len() > 0 {
				text.WriteByte(' ')
			}
			text.WriteString(rest)
		}
		lines = append(lines, rest)
		if last {
			reply.Text = strings.ToValidUTF8(text.String(), "?")
			return reply, lines, nil
		}
	}
	return Reply{}, nil, errReply
}

// readLine reads up to a line feed, which servers that are careless about the carriage return send as well.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxReplyLine {
			return "", errReply
		}
		if err == nil && line == nil {
			return string(bytes.TrimRight(part, "\r\n")), nil
		}
		line = append(line, part...)
		if err == nil {
			return string(bytes.TrimRight(line, "\r\n")), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = errClosed
			}
			return "", err
		}
	}
}

func splitLine(line string) (code int, last bool, rest string, ok bool) {
	if len(line) < 3 {
		return 0, false, "", false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, false, "", false
	}
	switch {
	case len(line) == 3:
		return code, true, "", true
	case line[3] == ' ', line[3] == '-':
		return code, line[3] == ' ', line[4:], true
	}
	return 0, false, "", false
}

// cutEnhanced takes an enhanced status code of the reply's own class off the front of its text (RFC 2034).
func cutEnhanced(text string, code int) (e EnhancedCode, rest string, ok bool) {
	word, rest, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 {
		return e, text, false
	}
	for i, part := range parts {
		if part == "" || len(part) > 3 {
			return EnhancedCode{}, text, false
		}
		for _, c := range part {
			if c < '0' || c > '9' {
				return EnhancedCode{}, text, false
			}
			e[i] = e[i]*10 + int(c-'0')
		}
	}
	if e[0] != code/100 {
		return EnhancedCode{}, text, false
	}
	return e, rest, true
}
