package smtp

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPath is the longest address between its brackets (RFC 5321, section 4.5.3.1.3).
const maxPath = 254

// format is how a message has to be sent, as check has found out.
type format struct {
	utf8        bool // SMTPUTF8 is needed, by the message or by its addresses
	dotStuffing bool // a line begins with a dot
	endsLine    bool // the last line has no CR LF, which must be added
	size        int  // in octets, with that CR LF
}

// check returns the format of a message. It refuses a message that would be dangerous to send, or
// that the server has said it does not accept. The server is not asked.
func (c *Conn) check(m *Message) (format, *Refusal) {
	fromASCII, fromOK := checkPath(m.From)
	toASCII, toOK := checkPath(m.To)
	f := format{utf8: m.UTF8 || !fromASCII || !toASCII}
	switch {
	case !fromASCII && !c.ext.utf8:
		return f, refuse(PhaseMail, EnhancedCode{5, 1, 7},
			"the sender's address needs SMTPUTF8, which the server does not support")
	case !fromOK:
		return f, refuse(PhaseMail, EnhancedCode{5, 1, 7}, "the sender's address cannot be written in an SMTP command")
	case !toOK || m.To == "":
		return f, refuse(PhaseRcpt, EnhancedCode{5, 1, 3},
			"the recipient's address cannot be written in an SMTP command")
	case f.utf8 && !c.ext.utf8:
		return f, noUTF8()
	case m.EightBit && !c.ext.eightBit:
		return f, refuse(PhaseMail, EnhancedCode{5, 6, 3}, "the server does not support 8BITMIME")
	}
	var ok bool
	if f.dotStuffing, ok = checkLines(m.Data); !ok {
		return f, refuse(PhaseBody, EnhancedCode{5, 6, 0},
			"the message contains a NUL, or a CR or LF that is not part of a CR LF")
	}
	f.endsLine = !bytes.HasSuffix(m.Data, crlf)
	f.size = len(m.Data)
	if f.endsLine {
		f.size += len(crlf)
	}
	if c.ext.size > 0 && int64(f.size) > c.ext.size {
		return f, tooLarge()
	}
	return f, nil
}

// Fits returns the [*Refusal] of Begin for a message that the server has said it does not take, or
// nil. It does not look into the text of the message.
func (c *Conn) Fits(m *Message) error {
	if c.ext.size > 0 && int64(len(m.Data)) > c.ext.size {
		return tooLarge()
	}
	if c.ext.utf8 {
		return nil
	}
	fromASCII, _ := checkPath(m.From)
	if toASCII, toOK := checkPath(m.To); fromASCII && toOK && (m.UTF8 || !toASCII) {
		return noUTF8()
	}
	return nil
}

func tooLarge() *Refusal {
	return refuse(PhaseMail, EnhancedCode{5, 3, 4}, "the message is larger than the server accepts")
}

func noUTF8() *Refusal {
	return refuse(PhaseMail, EnhancedCode{5, 6, 7}, "the server does not support SMTPUTF8")
}

// refuse returns a refusal of our own.
func refuse(phase Phase, e EnhancedCode, text string) *Refusal {
	return &Refusal{Phase: phase, Reply: Reply{Enhanced: e, Text: text}}
}

// checkPath reports whether an address can be written between the brackets of MAIL FROM:<> and
// means nothing but itself there. A space or a bracket is allowed only in a quoted local part.
func checkPath(address string) (ascii, ok bool) {
	if len(address) > maxPath {
		return true, false
	}
	ascii = true
	quoted := false
	for i := 0; i < len(address); i++ {
		switch b := address[i]; {
		case b < ' ', b == 0x7f:
			return ascii, false
		case b >= utf8.RuneSelf:
			ascii = false
		case b == '"' && quoted:
			if i+1 == len(address) || address[i+1] != '@' {
				return ascii, false
			}
			quoted = false
		case b == '"':
			if i > 0 {
				return ascii, false
			}
			quoted = true
		case b == '\\' && quoted:
			if i++; i == len(address) || address[i] < ' ' || address[i] >= 0x7f {
				return ascii, false
			}
		case !quoted && (b == ' ' || b == '<' || b == '>' || b == '\\'):
			return ascii, false
		}
	}
	if quoted || !ascii && (!utf8.ValidString(address) || strings.ContainsFunc(address, invisible)) {
		return ascii, false
	}
	return ascii, true
}

func invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r != ' ' && unicode.IsSpace(r)
}

var crlf = []byte("\r\n")

// checkLines looks for a CR or LF alone and for a NUL (RFC 5321, section 2.3.8). Servers read them
// in different ways, so they can be used to smuggle a second message. dotStuffing is true if a line
// begins with a dot.
func checkLines(data []byte) (dotStuffing, ok bool) {
	feeds := 0
	dotStuffing = len(data) > 0 && data[0] == '.'
	for at := 0; ; {
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			break
		}
		at += i
		if at == 0 || data[at-1] != '\r' {
			return false, false
		}
		feeds++
		at++
		if at < len(data) && data[at] == '.' {
			dotStuffing = true
		}
	}
	return dotStuffing, bytes.Count(data, crlf[:1]) == feeds && bytes.IndexByte(data, 0) < 0
}

// appendStuffed appends data, with each dot at the beginning of a line doubled (RFC 5321, section
// 4.5.2).
func appendStuffed(out, data []byte) []byte {
	for len(data) > 0 {
		if data[0] == '.' {
			out = append(out, '.')
		}
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 {
			end = len(data)
		}
		out = append(out, data[:end]...)
		data = data[end:]
	}
	return out
}
