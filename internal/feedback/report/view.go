package report

import (
	"strings"
)

// view is what a report consists of: the message itself, or a message that it forwards.
type view struct {
	header  header
	text    string // what it says to people, without the returned message
	status  string // the fields of a delivery status report
	arf     string // the fields of a feedback report
	receipt string // the fields of a receipt (RFC 8098)
	system  bool   // a mail system has written it
	inner   bool   // a message is inside it
	cut     bool   // the returned message was in the text
	subject string
	lower   string // the subject and the beginning of the text in lower case
}

// look returns the report in a message. It prefers the outermost report.
func look(m *message) *view {
	level := m.reportLevel()
	v := &view{header: m.headerOf(level)}
	var plain, page, other []string
	add := func(to *string, p *part) {
		if len(*to) < maxText {
			*to += p.text() + "\n\n"
		}
	}
	for i := range m.parts {
		p := &m.parts[i]
		if p.level != level {
			continue
		}
		switch p.kind {
		case "message/delivery-status", "message/global-delivery-status":
			add(&v.status, p)
		case "message/feedback-report":
			add(&v.arf, p)
		case "message/disposition-notification", "message/global-disposition-notification":
			add(&v.receipt, p)
		case "message/rfc822":
			v.inner = true
		case "text/html":
			page = append(page, p.text())
		case "preamble":
			other = append(other, p.text())
		default:
			if strings.HasPrefix(p.kind, "text/") {
				if p.file || v.inner || v.status != "" {
					other = append(other, p.text())
				} else {
					plain = append(plain, p.text())
				}
			}
		}
	}
	for _, texts := range [][]string{plain, page, other} {
		if v.text = strings.Join(texts, "\n"); strings.TrimSpace(v.text) != "" {
			break
		}
	}
	v.text = v.text[:min(len(v.text), maxText)]
	v.cutOriginal()
	v.subject = strings.ToLower(decodeWords(v.header.get("subject")))
	v.lower = v.subject + "\n" + strings.ToLower(v.text[:min(len(v.text), 4<<10)])
	v.system = isSystem(v.header)
	return v
}

// reportLevel returns how many messages the report is in.
func (m *message) reportLevel() int {
	for i := range m.parts {
		switch m.parts[i].kind {
		case "message/delivery-status", "message/global-delivery-status", "message/feedback-report",
			"message/disposition-notification":
			return m.parts[i].level
		}
	}
	if !isSystem(m.header) && m.header.get("x-failed-recipients") == "" {
		for i := range m.parts {
			if p := &m.parts[i]; p.level == 0 && p.inner != nil && isSystem(p.inner) {
				return 1
			}
		}
	}
	return 0
}

// headerOf returns the header of the message that has the report.
func (m *message) headerOf(level int) header {
	h := m.header
	if level == 0 {
		return h
	}
	for i := range m.parts {
		if p := &m.parts[i]; p.inner != nil && p.level == level-1 {
			h = p.inner
		}
		if m.parts[i].level == level {
			break
		}
	}
	return h
}

// originalFields are fields by which a returned message begins in a text.
var originalFields = map[string]bool{"return-path": true, "received": true, "dkim-signature": true, "message-id": true,
	"mime-version": true, "from": true, "to": true, "subject": true, "date": true, "content-type": true,
	"x-google-dkim-signature": true, "domainkey-signature": true, "arc-seal": true, "delivered-to": true,
	"x-received": true, "reply-to": true, "sender": true, "x-mailer": true, "user-agent": true, "cc": true,
	"x-originating-ip": true, "authentication-results": true, "x-original-to": true, "list-unsubscribe": true,
	"content-transfer-encoding": true, "x-gm-message-state": true, "x-google-smtp-source": true}

// cutOriginal takes the returned message off the text: from where three fields of a header follow
// one another.
func (v *view) cutOriginal() {
	at, start, run := 0, 0, 0
	for line := range strings.Lines(v.text) {
		name, _, isField := strings.Cut(line, ":")
		quoted := strings.HasPrefix(line, ">")
		switch {
		case isField && originalFields[strings.ToLower(strings.TrimRight(name, " \t"))]:
			if run == 0 {
				start = at
			}
			run++
		case run > 0 && (line[0] == ' ' || line[0] == '\t') && !quoted:
		case run > 0 && isField && isName([]byte(name)) && strings.Contains(name, "-"):
		default:
			run = 0
		}
		if run == 3 {
			v.text, v.cut = v.text[:start], true
			return
		}
		at += len(line)
	}
}

// systemNames are local parts and names of mail systems.
var systemNames = []string{"mailer-daemon", "mailerdaemon", "mailer daemon", "postmaster", "post_master", "mail-daemon",
	"maildaemon", "mail deliver", "mail-deliver", "mail.deliver", "maildeliver", "mail administrator", "mail subsystem",
	"system administrator", "delivery subsystem", "delivery system", "mail system", "mail-system", "bounce@", "bounces@",
	"mailadmin", "administrator@", "poostmaster", "mmdf", "internet mail", "content-filter", "interscan",
	"no-reply@sns.amazonaws", "mdaemon", "mail router", "mail gateway"}

// isSystem reports whether a mail system has written a message, as far as its header tells.
func isSystem(h header) bool {
	from := strings.ToLower(decodeWords(h.get("from")))
	if from == "<>" || strings.HasSuffix(from, " <>") || from == "" && nullReturn(h) {
		return true
	}
	for _, name := range systemNames {
		if strings.Contains(from, name) {
			return true
		}
	}
	if h.get("x-failed-recipients") != "" || h.get("x-mlserver") != "" { // the latter: fml
		return true
	}
	kind, params := mediaType(h.get("content-type"))
	return kind == "multipart/report" && params["report-type"] == "delivery-status"
}

// nullReturn reports whether the message has the null return path of reports and answers.
func nullReturn(h header) bool {
	switch strings.TrimSpace(strings.ToLower(h.get("return-path"))) {
	case "<>", "<mailer-daemon>", "<null>":
		return true
	}
	return false
}
