package intake

import (
	"bytes"
	"strings"
)

// The bounds of what is looked at of a header.
const (
	maxHead      = 64 << 10 // octets
	maxAddressed = 50       // addresses
)

// head is what the header of a message says of where it goes, and what it is.
type head struct {
	addressed []string // the addresses that it was sent to
	isAnswer  bool     // a machine has answered to something: it is no person's request
}

// addressFields are those of the envelope's recipient, as servers write it down, and those that the
// author of the message has written.
var addressFields = map[string]bool{
	"delivered-to": true, "x-original-to": true, "envelope-to": true, "x-envelope-to": true, "to": true, "cc": true,
}

// readHead reads the header of a message, as far as it can be read.
func readHead(data []byte) (h head) {
	each(data[:min(len(data), maxHead)], func(name, value string) {
		switch {
		case addressFields[name]:
			h.addressed = append(h.addressed, addresses(value)...)
		case name == "content-type":
			kind, _, _ := strings.Cut(value, ";")
			h.isAnswer = h.isAnswer || strings.EqualFold(strings.TrimSpace(kind), "multipart/report")
		case name == "auto-submitted":
			h.isAnswer = h.isAnswer || strings.HasPrefix(strings.ToLower(value), "auto-replied")
		}
	})
	h.addressed = h.addressed[:min(len(h.addressed), maxAddressed)]
	return h
}

// each calls do for each field of a header, with the name in lower case and the value on one line.
func each(data []byte, do func(name, value string)) {
	var field strings.Builder
	end := func() {
		if name, value, ok := strings.Cut(field.String(), ":"); ok {
			do(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value))
		}
		field.Reset()
	}
	for line := range bytes.Lines(data) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			end()
		}
		field.Write(line)
	}
	end()
}

// addresses returns the words of a text that may be addresses.
func addresses(text string) (all []string) {
	separates := func(r rune) bool { return strings.ContainsRune(" \t,;:<>()\"", r) }
	for word := range strings.FieldsFuncSeq(text, separates) {
		if strings.Contains(word, "@") && len(all) < maxAddressed {
			all = append(all, word)
		}
	}
	return all
}
