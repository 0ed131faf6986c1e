package report

import "strings"

// complaint reads a feedback report (RFC 5965), and Microsoft's form without a feedback part. The
// type is "" for everything else.
func complaint(m *message, v *view) (findings []Finding, kind string) {
	if v.arf == "" {
		if isJunkMailReport(m) {
			return []Finding{{Class: Complaint}}, "abuse"
		}
		return nil, ""
	}
	f := Finding{}
	for line := range strings.Lines(v.arf) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "feedback-type":
			kind = strings.ToLower(firstWord(value))
		case "original-rcpt-to", "removal-recipient":
			if f.final == "" {
				f.final = addressIn(value)
			}
		}
	}
	if kind == "" {
		kind = "abuse"
	}
	kind = kind[:min(len(kind), 40)]
	switch kind {
	case "abuse", "fraud", "virus", "other", "miscategorized", "complaint", "opt-out", "opt-out-list", "spam":
		f.Class = Complaint
	case "not-spam", "auth-failure", "dmarc", "dkim":
		f.Class = Automatic // about us, or good news: it does nothing
	default:
		f.Class = Unknown
	}
	return []Finding{f}, kind
}

// isJunkMailReport reports whether a message is a report of Microsoft's Junk Mail Reporting Program
// without a feedback part: the message in question, with a field of Microsoft's own.
func isJunkMailReport(m *message) bool {
	subject := strings.ToLower(decodeWords(m.header.get("subject")))
	if !strings.HasPrefix(subject, "complaint about message from") {
		return false
	}
	for i := range m.parts {
		if p := &m.parts[i]; p.level == 0 && p.inner != nil {
			return true
		}
	}
	return m.header.get("x-hmxmroriginalrecipient") != ""
}
