package smtp

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPath is the length of an address between its brackets (RFC 5321, 4.5.3.1.3).
const maxPath = 254

// checked is what an examination of a message has found out, so that it is made once.
type checked struct {
	utf8  bool // SMTPUTF8 is needed, by the message or by its addresses
	stuff bool // a line begins with a dot
	crlf  bool // the last line is not ended
	size  int  // octets, with that line ended
}

// check refuses, before the server is bothered, what would be dangerous to say or what the server has said it does not take.
func (c *Conn) check(m *Message) (checked, *Refusal) {
	fromASCII, fromOK := checkPath(m.From)
	toASCII, toOK := checkPath(m.To)
	k := checked{utf8: m.UTF8 || !fromASCII || !toASCII}
	switch {
	case !fromOK:
		return k, local(PhaseMail, EnhancedCode{5, 1, 7}, "the sender's address cannot be said in SMTP")
	case !toOK || m.To == "":
		return k, local(PhaseRcpt, EnhancedCode{5, 1, 3}, "the recipient's address cannot be said in SMTP")
	case k.utf8 && !c.ext.utf8:
		return k, local(PhaseMail, EnhancedCode{5, 6, 7}, "the server does not take SMTPUTF8")
	case m.EightBit && !c.ext.eightBit:
		return k, local(PhaseMail, EnhancedCode{5, 6, 3}, "the server does not take 8BITMIME")
	}
	var ok bool
	if k.stuff, ok = checkLines(m.Data); !ok {
		return k, local(PhaseBody, EnhancedCode{5, 6, 0}, "the message has a NUL, or a CR or LF that is not part of a CR LF")
	}
	k.crlf = !bytes.HasSuffix(m.Data, crlf)
	k.size = len(m.Data)
	if k.crlf {
		k.size += len(crlf)
	}
	if c.ext.size > 0 && int64(k.size) > c.ext.size {
		return k, local(PhaseMail, EnhancedCode{5, 3, 4}, "the message is longer than the server takes")
	}
	return k, nil
}

func local(phase Phase, e EnhancedCode, text string) *Refusal {
	return &Refusal{phase, Reply{Enhanced: e, Text: text}}
}

// checkPath tells whether an address can stand between the brackets of MAIL FROM:<> without saying anything else. A blank or a bracket
// is nothing but a character in a quoted local part, which is quoted from its beginning to the @.
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

// checkLines looks for what servers read in different ways, and so can be used to smuggle a second message (RFC 5321, 2.3.8): a CR or
// LF alone, a NUL. It tells whether dots have to be doubled.
func checkLines(data []byte) (stuff, ok bool) {
	feeds := 0
	stuff = len(data) > 0 && data[0] == '.'
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
			stuff = true
		}
	}
	return stuff, bytes.Count(data, crlf[:1]) == feeds && bytes.IndexByte(data, 0) < 0
}

// appendStuffed doubles each dot at the beginning of a line (RFC 5321, 4.5.2).
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
