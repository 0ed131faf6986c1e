package report

import "strings"

// status is what the fields of a delivery status report say of one recipient (RFC 3464, 2.3).
type status struct {
	final, original string
	action, code    string
	diagnostic      string
}

// statuses reads the fields of a delivery status report. It takes groups that no blank line
// divides, and fields in any order, and skips what is no field.
func statuses(text string) (all []status) {
	var s status
	var field *string // the field that the next lines may belong to
	var more []byte   // these lines
	endField := func() {
		if field != nil {
			*field += string(more)
		}
		field, more = nil, more[:0]
	}
	end := func() {
		endField()
		if (s.action != "" || s.code != "") && len(all) < maxRecipients {
			all = append(all, s)
			s = status{}
		}
	}
	add := func(line string) {
		if len(*field)+len(more) < maxField {
			more = append(append(more, ' '), strings.TrimSpace(line)...)
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.TrimSpace(line) == "" {
			end()
			continue
		}
		if (line[0] == ' ' || line[0] == '\t') && field != nil {
			add(line)
			continue
		}
		name, rest, ok := strings.Cut(strings.TrimLeft(line, " \t"), ":")
		if !ok {
			if field == &s.diagnostic { // it was not folded
				add(line)
			}
			continue
		}
		endField()
		rest = strings.TrimSpace(rest[:min(len(rest), maxField)])
		name = strings.ToLower(strings.TrimSpace(name))
		if s.begins(name) {
			end()
			s = status{}
		}
		field = s.set(name, rest)
	}
	end()
	return all
}

// begins reports whether a field is of the next recipient.
func (s *status) begins(name string) bool {
	complete := s.final != "" && s.action != "" && s.code != ""
	switch name {
	case "final-recipient":
		return s.final != ""
	case "original-recipient":
		return s.original != "" || complete
	case "action":
		return s.action != "" && complete
	}
	return false
}

// set sets a field, and returns where its next lines go.
func (s *status) set(name, value string) *string {
	switch name {
	case "final-recipient":
		s.final = addressIn(value)
	case "original-recipient", "x-actual-recipient":
		if name == "original-recipient" || s.original == "" {
			s.original = addressIn(value)
		}
	case "action", "ction":
		s.action = strings.ToLower(firstWord(value))
	case "status":
		s.code = value
		return &s.code
	case "diagnostic-code":
		if len(s.diagnostic) >= maxField {
			return nil
		}
		if kind, words, ok := strings.Cut(value, ";"); ok && !strings.ContainsAny(strings.TrimSpace(kind), " ") {
			value = strings.TrimSpace(words)
		}
		if s.diagnostic != "" {
			value = s.diagnostic + " " + value
		}
		s.diagnostic = value
		return &s.diagnostic
	}
	return nil
}

// addressIn returns the address of a recipient's field: after the type, without brackets.
func addressIn(value string) string {
	if _, after, ok := strings.Cut(value, ";"); ok {
		value = after
	}
	address, _, _, ok := findAddress(value)
	if !ok {
		return ""
	}
	return address
}
