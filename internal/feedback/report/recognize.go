package report

import (
	"strings"
)

// recognize says what a message reports, and the type of a feedback report.
func recognize(m *message) (findings []Finding, feedback string) {
	v := look(m)
	if f, kind := complaint(m, v); kind != "" {
		return f, kind
	}
	if f := notification(v); len(f) > 0 {
		return f, ""
	}
	if f := fromStatus(v); len(f) > 0 {
		return f, ""
	}
	if v.subject == "unsubscribe" && !v.system { // the answer to the address of List-Unsubscribe (RFC 2369)
		return []Finding{{Class: Complaint}}, "unsubscribe"
	}
	if v.receipt != "" {
		return []Finding{{Class: Automatic}}, ""
	}
	if f := fromText(v); len(f) > 0 {
		return f, ""
	}
	if isAutomatic(v) {
		return []Finding{{Class: Automatic}}, ""
	}
	return nil, ""
}

// fromStatus reads the report in the form of RFC 3464, in its part or in the text.
func fromStatus(v *view) (findings []Finding) {
	fields := v.status
	if fields == "" && containsFold(v.text, "final-recipient:") {
		fields = v.text
	}
	all := statuses(fields)
	if len(all) == 0 {
		return nil
	}
	text := v.text
	if fields == v.text {
		text = ""
	}
	rest, blocks := blocksIn(text)
	for _, s := range all {
		e := evidence{action: s.action, status: s.code, diagnostic: s.diagnostic,
			text: textOf(s, blocks, len(all) == 1)}
		if e.text == "" {
			e.text = rest
		} else {
			e.around = rest
		}
		f := e.finding()
		f.final, f.original = s.final, s.original
		findings = append(findings, f)
	}
	return findings
}

// textOf returns what the text says of a recipient.
func textOf(s status, blocks []block, only bool) string {
	for _, b := range blocks {
		if sameAddress(b.address, s.final) || sameAddress(b.address, s.original) {
			return b.text
		}
	}
	if only && len(blocks) > 0 {
		var all strings.Builder
		for _, b := range blocks {
			all.WriteString(b.text)
		}
		return all.String()
	}
	return ""
}

// fromText reads a report without a standard form.
func fromText(v *view) (findings []Finding) {
	outcome := outcomeOf(v)
	if outcome == Unknown {
		return nil
	}
	rest, blocks := blocksIn(v.text)
	failed := strings.Split(v.header.get("x-failed-recipients"), ",")
	if len(blocks) == 0 {
		address, _, _, _ := findAddress(failed[0])
		if address == "" {
			address, _, _, _ = findAddress(v.text)
		}
		rest, blocks = "", []block{{address, v.text}}
	}
	last := blocks[len(blocks)-1].text
	for _, b := range blocks {
		e := evidence{text: b.text, around: rest}
		if !e.tells() {
			if e.text = rest + b.text; len(blocks) > 1 {
				e.text = last // several addresses, and one reason for them
			}
		}
		switch outcome {
		case Delayed:
			e.action = "delayed"
		case Delivered:
			e.action = "delivered"
		default:
			e.action = "failed"
		}
		f := e.finding()
		f.final = b.address
		findings = append(findings, f)
	}
	return findings
}

// containsFold reports whether s contains words, which are in lower case, in any case of letters.
func containsFold(s, words string) bool {
	return strings.Contains(strings.ToLower(s), words)
}
