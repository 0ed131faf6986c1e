package report

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

// text returns the content of a part as UTF-8, of limited length. What cannot be decoded is kept as
// far as it could be.
func (p *part) text() string {
	b := decode(p.body, p.encoding)
	s := decodeCharset(b, p.charset)
	if p.kind == "text/html" {
		return stripHTML(s)
	}
	return s
}

// decode undoes a transfer encoding.
func decode(body []byte, encoding string) []byte {
	switch encoding {
	case "base64":
		body = body[:min(len(body), maxText*3/2)]
		clean := make([]byte, 0, len(body))
		for _, c := range body {
			switch {
			case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
				clean = append(clean, c)
			}
		}
		out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
		n, _ := base64.RawStdEncoding.Decode(out, clean)
		return out[:n]
	case "quoted-printable":
		body = body[:min(len(body), maxText*3/2)]
		if bytes.IndexByte(body, '=') < 0 {
			return body
		}
		out := bytes.NewBuffer(make([]byte, 0, len(body)))
		if _, err := io.Copy(out, quotedprintable.NewReader(bytes.NewReader(body))); err != nil {
			return append(out.Bytes(), body[min(len(body), out.Len()):]...) // about where it stopped
		}
		return out.Bytes()
	}
	return body[:min(len(body), maxText)]
}

// decodeCharset returns a text as UTF-8. A name that is not known, or is wrong, leaves the ASCII.
func decodeCharset(b []byte, charset string) string {
	b = b[:min(len(b), maxText)]
	switch charset = strings.ToLower(charset); charset {
	case "", "us-ascii", "utf-8", "ascii":
		if bytes.Contains(b, []byte("\x1b$")) { // ISO-2022-JP without its name
			charset = "iso-2022-jp"
			break
		}
		return strings.ToValidUTF8(string(b), "?")
	}
	if isPlain(b) {
		return string(b)
	}
	e, err := htmlindex.Get(charset)
	if err != nil {
		return strings.ToValidUTF8(string(b), "?")
	}
	out, _, err := transform.Bytes(e.NewDecoder(), b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "?")
	}
	return string(out[:min(len(out), maxText)])
}

// isPlain reports whether b is ASCII without escapes.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == 0x1b {
			return false
		}
	}
	return true
}

var words = mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(r), nil
}}

// decodeWords returns a header's text, with encoded words (RFC 2047) decoded.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	if out, err := words.DecodeHeader(s); err == nil {
		return out
	}
	return s
}

// blocks are the elements of HTML that begin a line.
var blocks = map[string]bool{"br": true, "p": true, "div": true, "tr": true, "td": true, "li": true, "h1": true,
	"h2": true, "h3": true, "table": true, "pre": true, "hr": true}

// stripHTML returns the text of an HTML page.
func stripHTML(page string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(page))
	z.SetMaxBuf(maxText)
	skip := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			skip = string(name) == "style" || string(name) == "script" || string(name) == "title"
			if blocks[string(name)] {
				b.WriteByte('\n')
			}
		case html.EndTagToken:
			skip = false
		case html.TextToken:
			if !skip {
				b.WriteString(strings.ReplaceAll(string(z.Text()), "\n", " "))
			}
		}
	}
}

// joined returns words with single blanks.
func joined(words []string) string { return strings.Join(words, " ") }
