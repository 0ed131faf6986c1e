package lint

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strconv"
	"strings"

	"directmailer/internal/content/render"
)

const (
	// maxLine is the longest line of a message, in octets without CRLF (RFC 5322, 2.1.1).
	maxLine = 998
	// maxHTML is from where on Gmail cuts an HTML part off, in octets.
	maxHTML = 100_000
)

// parsed is a message in its parts.
type parsed struct {
	header            mail.Header
	text, html        string
	hasText, hasHTML  bool
	unreadableHeaders bool
}

// Message looks at the rendered message of one recipient. to is the recipient's address. If
// pageless is true, the body only stands for a page, and is not looked at.
func (l *Linter) Message(raw []byte, to string, pageless bool) {
	l.messages++
	l.pages = l.pages || pageless
	found := once{}
	l.sizes.Message = max(l.sizes.Message, len(raw))
	lines(raw, found)
	m := parse(raw)
	l.header(m, to, found)
	l.signatures(m, found)
	l.unsubscribe(m, found)
	l.subject(m, found)
	if !pageless {
		l.body(m, found)
	}
	l.keep(found)
}

// lines finds lines that are too long.
func lines(raw []byte, found once) {
	header, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	name := ""
	for line := range bytes.Lines(header) {
		if key, _, ok := bytes.Cut(line, []byte(":")); ok && line[0] != ' ' && line[0] != '\t' {
			name = string(key)
		}
		if len(bytes.TrimRight(line, "\r\n")) > maxLine {
			found.add(LineTooLong, "header "+name, "has a line of more than 998 octets")
		}
	}
	for line := range bytes.Lines(body) {
		if len(bytes.TrimRight(line, "\r\n")) > maxLine {
			found.add(LineTooLong, "body", "has a line of more than 998 octets")
		}
	}
}

// parse reads a message. What cannot be read stays empty.
func parse(raw []byte) parsed {
	read, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return parsed{unreadableHeaders: true}
	}
	m := parsed{header: read.Header}
	body, err := io.ReadAll(read.Body)
	if err == nil {
		m.part(read.Header.Get("Content-Type"), read.Header.Get("Content-Transfer-Encoding"), body)
	}
	return m
}

func (m *parsed) part(contentType, encoding string, body []byte) {
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return
	}
	if strings.HasPrefix(kind, "multipart/") {
		parts := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err != nil {
				return
			}
			if inner, err := io.ReadAll(part); err == nil {
				m.part(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), inner)
			}
		}
	}
	if strings.EqualFold(encoding, "quoted-printable") {
		body, _ = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body)))
	}
	switch kind {
	case "text/plain":
		m.text, m.hasText = string(body), true
	case "text/html":
		m.html, m.hasHTML = string(body), true
	}
}

// body looks at the text and the HTML part.
func (l *Linter) body(m parsed, found once) {
	l.sizes.HTML = max(l.sizes.HTML, len(m.html))
	if len(m.html) > maxHTML {
		found.addAt(HTMLTooLarge, spot{where: "HTML part", field: render.FieldHTML}, "has more than 100,000 octets")
	}
	page := l.readHTML(m.html)
	if strings.TrimSpace(m.text) == "" {
		found.addAt(TextMissing, spot{where: "text part", field: render.FieldText}, "is missing or blank")
		if page.letters == 0 && page.images == 0 {
			found.addAt(BodyBlank, spot{where: "body", field: render.FieldContent}, "is blank")
		}
	}
	if m.hasHTML {
		l.html(page, found)
	} else {
		l.textLinks(m.text, found)
	}
	l.mergeTags(m, page, found)
	l.unsubscribeLink(m, page, found)
}

// mergeTags finds what looks like a merge tag that came in by a value or a page. Tags that stand in
// the templates are found by [render.MergeTags].
func (l *Linter) mergeTags(m parsed, page document, found once) {
	for where, shown := range map[string]string{"text part": m.text, "HTML part": page.visible.String(),
		"header Subject": decoded(m.header.Get("Subject"))} {
		for _, tag := range render.TagsIn(shown) {
			if !strings.Contains(l.source.text+l.in.Content.HTML+l.in.Subject, tag) {
				found.add(MergeTag, where, "shows what looks like a merge tag, which comes from a value or a page")
			}
		}
		if noValue.MatchString(shown) {
			found.add(MergeTag, where, "shows what a template writes for a value that is not there")
		}
	}
}

// noValue is what package text/template and the verbs of printf write for a value that is not there
// or has another type.
var noValue = regexp.MustCompile(`<no value>|%!.?\(`)

func number(n int) string { return strconv.Itoa(n) }

// decoded returns a header field with its encoded words decoded.
func decoded(value string) string {
	text, err := (&mime.WordDecoder{}).DecodeHeader(value)
	if err != nil {
		return value
	}
	return text
}
