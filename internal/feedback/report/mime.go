package report

import (
	"bytes"
	"mime"
	"strings"
)

// field is a field of a header, unfolded.
type field struct{ name, value string } // the name in lower case

// header is the fields of a header, in their order.
type header []field

// get returns the first field of a name in lower case, or "".
func (h header) get(name string) string {
	for _, f := range h {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// part is a part of a message that has no parts of its own, or a message inside a message.
type part struct {
	kind     string // media type in lower case
	charset  string
	encoding string // transfer encoding in lower case
	body     []byte // as it was transferred
	level    int    // how many messages the part is in: 0 in the message itself
	inner    header // of a message in this message: its header
	file     bool   // an attached file
}

// message is a message and all of its parts, in their order.
type message struct {
	header header
	body   []byte
	parts  []part
}

// parse never fails: what is not MIME is text.
func parse(data []byte) *message {
	if bytes.IndexByte(data, '\r') >= 0 {
		data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	}
	m := &message{}
	m.header, m.body = cutHeader(data)
	m.walk(m.header, m.body, 0, 0)
	return m
}

// cutHeader divides a message into its header and its body. It skips the line of an mbox file. A
// line that is no field ends the header.
func cutHeader(data []byte) (h header, body []byte) {
	data = bytes.TrimLeft(data, "\n")
	for bytes.HasPrefix(data, []byte("From ")) || bytes.HasPrefix(data, []byte(">From ")) {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	var value []byte // of the last field of h, while open: it grows line by line
	open := false
	end := func() {
		if open {
			h[len(h)-1].value = string(value)
		}
		value, open = value[:0], false
	}
	defer end()
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if len(line) == 0 {
			return h, rest
		}
		folded := line[0] == ' ' || line[0] == '\t' ||
			bytes.HasSuffix(value, []byte(";")) && !bytes.Contains(line, []byte(":"))
		name, text, isField := bytes.Cut(line, []byte(":"))
		switch {
		case folded && open:
			if len(value)+len(line) < maxField {
				value = append(append(value, ' '), bytes.TrimSpace(line)...)
			}
		case isField && isName(name):
			end()
			if len(h) < maxFields {
				text = bytes.TrimSpace(text)
				h = append(h, field{name: strings.ToLower(string(bytes.TrimSpace(name)))})
				value, open = append(value, text[:min(len(text), maxField)]...), true
			}
		case folded, bytes.HasPrefix(line, []byte("From ")), bytes.HasPrefix(line, []byte(">From ")):
		case len(h) == 0, !fieldFollows(rest):
			return h, data
		}
		data = rest
	}
	return h, nil
}

// fieldFollows reports whether the next line is a field: one broken line does not end a header.
func fieldFollows(data []byte) bool {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && isName(name)
}

func isName(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(name) > 0 && len(name) < 80
}

// walk adds the parts of a body.
func (m *message) walk(h header, body []byte, level, depth int) {
	if len(m.parts) >= maxParts || depth > maxDepth {
		return
	}
	kind, params := mediaType(h.get("content-type"))
	if level+depth == 0 && !strings.HasPrefix(kind, "multipart/") {
		if b := brokenBoundary(body); b != "" {
			kind, params = "multipart/mixed", map[string]string{"boundary": b}
		}
	}
	if strings.HasPrefix(kind, "multipart/") && params["boundary"] != "" {
		m.walkParts(body, params["boundary"], level, depth)
		return
	}
	if strings.HasPrefix(kind, "multipart/") {
		kind = "text/plain" // its boundary is lost
	}
	p := part{kind: kind, charset: params["charset"], level: level, body: body}
	p.encoding = strings.ToLower(firstWord(h.get("content-transfer-encoding")))
	p.file = strings.HasPrefix(strings.ToLower(h.get("content-disposition")), "attachment")
	switch kind {
	case "message/rfc822", "message/global", "message/partial", "text/rfc822-headers", "text/rfc822",
		"message/global-headers", "message/rfc822-headers":
		inner := body
		if p.encoding == "base64" || p.encoding == "quoted-printable" {
			inner = decode(body, p.encoding)
		}
		p.inner, inner = cutHeader(inner)
		p.kind = "message/rfc822"
		m.parts = append(m.parts, p)
		m.walk(p.inner, inner, level+1, depth+1)
		return
	}
	m.parts = append(m.parts, p)
}

func (m *message) walkParts(body []byte, boundary string, level, depth int) {
	mark := []byte("\n--" + boundary)
	at := 0
	if !bytes.HasPrefix(body, mark[1:]) {
		if at = bytes.Index(body, mark); at < 0 { // no part at all: text
			m.parts = append(m.parts, part{kind: "text/plain", body: body, level: level})
			return
		}
		at++
	}
	if preamble := bytes.TrimSpace(body[:at]); len(preamble) > 0 {
		m.parts = append(m.parts, part{kind: "preamble", body: preamble, level: level})
	}
	for len(m.parts) < maxParts {
		rest := body[at+len(mark)-1:]
		if bytes.HasPrefix(rest, []byte("--")) {
			return
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
		end := bytes.Index(rest, mark)
		piece := rest
		if end >= 0 {
			piece = rest[:end]
		}
		m.walkPart(piece, level, depth)
		if end < 0 {
			return
		}
		body, at = rest, end+1
	}
}

func (m *message) walkPart(piece []byte, level, depth int) {
	if len(piece) > 0 && piece[0] == '\n' { // no header
		m.walk(nil, piece[1:], level, depth+1)
		return
	}
	h, inner := cutHeader(piece)
	if h.get("content-type") == "" && (h.get("received") != "" || h.get("return-path") != "") {
		m.parts = append(m.parts, part{kind: "message/rfc822", inner: h, level: level}) // without a header of its own
		return
	}
	if h.get("content-type") == "" && h.get("content-transfer-encoding") == "" && h.get("content-disposition") == "" &&
		h.get("content-description") == "" {
		inner = piece // a text whose first line has a colon
	}
	m.walk(h, inner, level, depth+1)
}

// brokenBoundary returns the boundary of a message whose header has lost it: the first line, or the
// first after the one that says that this is MIME, if it begins with two hyphens.
func brokenBoundary(body []byte) string {
	line, rest, _ := bytes.Cut(bytes.TrimLeft(body[:min(len(body), 4<<10)], "\n"), []byte("\n"))
	named := bytes.HasPrefix(line, []byte("This is a "))
	if named {
		line, rest, _ = bytes.Cut(bytes.TrimLeft(rest, "\n"), []byte("\n"))
	}
	isField := len(rest) > 8 && bytes.EqualFold(rest[:8], []byte("content-"))
	if bytes.HasPrefix(line, []byte("--")) && len(line) > 8 && len(line) < 80 && (named || isField) {
		return string(bytes.TrimRight(line[2:], " \t"))
	}
	return ""
}

// mediaType reads a Content-Type, also one with faults that mime.ParseMediaType refuses.
func mediaType(value string) (kind string, params map[string]string) {
	kind, params, err := mime.ParseMediaType(value)
	if err == nil && (params["boundary"] != "" || !strings.HasPrefix(kind, "multipart/")) {
		return kind, params
	}
	params = map[string]string{}
	kind, _, _ = strings.Cut(value, ";")
	kind = strings.ToLower(firstWord(kind))
	lower := strings.ToLower(value)
	for _, name := range []string{"boundary", "charset", "report-type"} {
		at := strings.Index(lower, name)
		if at < 0 || len(lower) != len(value) {
			continue
		}
		rest := strings.TrimLeft(value[at+len(name):], " \t")
		if !strings.HasPrefix(rest, "=") {
			continue
		}
		rest = strings.TrimLeft(rest[1:], " \t")
		if strings.HasPrefix(rest, `"`) {
			params[name], _, _ = strings.Cut(rest[1:], `"`)
		} else {
			params[name] = strings.TrimRight(firstWord(rest), ";")
		}
	}
	if kind == "" {
		kind = "text/plain"
	}
	return kind, params
}

func firstWord(s string) string {
	if words := strings.Fields(s); len(words) > 0 {
		return words[0]
	}
	return ""
}
