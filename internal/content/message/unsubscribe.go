package message

import "errors"

var errUnsubscribe = errors.New("is not an address that a header can hold")

// appendUnsubscribe appends the fields of RFC 2369 and RFC 8058, each with the line end before it.
// A mail program that acts at once needs both, and uses the URL.
func (m *Message) appendUnsubscribe(b []byte) ([]byte, error) {
	if m.UnsubscribeURL == "" && m.UnsubscribeAddress == "" {
		return b, nil
	}
	if !bracketable(m.UnsubscribeURL) || !bracketable(m.UnsubscribeAddress) {
		return b, &FieldError{"unsubscribe", errUnsubscribe}
	}
	b = append(b, "\r\nList-Unsubscribe: "...)
	if m.UnsubscribeURL != "" {
		b = append(b, '<')
		b = append(b, m.UnsubscribeURL...)
		b = append(b, '>')
	}
	if m.UnsubscribeAddress != "" {
		if m.UnsubscribeURL != "" {
			b = append(b, ",\r\n "...)
		}
		b = append(b, "<mailto:"...)
		b = append(b, m.UnsubscribeAddress...)
		b = append(b, "?subject=unsubscribe>"...) // some programs refuse to send without a subject
	}
	if m.UnsubscribeURL != "" {
		b = append(b, "\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click"...)
	}
	return b, nil
}

// bracketable reports whether an address can stand in angle brackets on a line of its own.
func bracketable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7F || c == '<' || c == '>' || c == ',' {
			return false
		}
	}
	return len(s) <= 900
}
