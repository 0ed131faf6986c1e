// Package page fetches the pages of recipients by HTTP (RFC 9110). A page is the body of a message
// that a web server makes for one recipient.
//
// What is asked for is checked at each step: http and https only, only hosts that the mailing
// allows, no user information, at most five redirects, none from https to http. The author of a
// mailing names its hosts, so an address that is dialled must be public unless the operator allows
// it ([Allowed]): else an author could mail out what only workers may read. The request says
// nothing of who asks but "User-Agent: Direct-Mailer": no cookie, no referrer, and the proxies of
// the environment are not used. A page is text/html or text/plain of any charset, up to [maxBody]
// octets after decompression, and comes out as UTF-8.
//
// An error is a [*Failure], which is about one recipient's page, or [*Unavailable], which is about
// the server. Neither holds a recipient's data or text of the server.
package page

import (
	"bytes"
	"errors"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"

	"directmailer/internal/content/render"
)

// maxBody is how long a page may be, in octets, before and after decompression and conversion.
const maxBody = 10 << 20

// Failure says why one recipient has no page. A retry would get the same answer.
type Failure struct {
	Field  string // of the input
	Reason string
}

func (f *Failure) Error() string { return f.Field + ": " + f.Reason }

// kind is what a Content-Type says.
type kind struct {
	html    bool
	charset string // empty: not said, or not known
}

func kindOf(contentType string) (k kind, fault string) {
	media, parameters, err := mime.ParseMediaType(contentType)
	if err != nil { // in its parameters, which browsers forgive: charset: utf-8
		media, _, _ = strings.Cut(contentType, ";")
		media = strings.ToLower(strings.TrimSpace(media))
	}
	switch {
	case contentType == "":
		return k, "the page does not say of which type it is: text/html or text/plain"
	case media != "text/html" && media != "text/plain":
		return k, "the page is neither text/html nor text/plain"
	}
	_, k.charset = charset.Lookup(parameters["charset"])
	k.html = media == "text/html"
	return k, ""
}

// decode makes a page of a body, or says why it is none.
func decode(k kind, body []byte) (page render.Page, fault string) {
	if k.html && k.charset == "" {
		// The charset of the page's own <meta>. Without one, DetermineEncoding guesses one of these
		// two from the beginning alone.
		_, name, _ := charset.DetermineEncoding(body[:min(len(body), 1024)], "")
		if name != "windows-1252" && name != "utf-8" {
			k.charset = name
		}
	}
	text, err := toUTF8(k.charset, body)
	switch {
	case err != nil:
		return page, "the page is not in the charset that it says, or in one that nobody reads any more"
	case len(text) > maxBody:
		return page, tooLong
	case bytes.IndexByte(text, 0) >= 0:
		return page, "the page holds a NUL"
	case len(bytes.TrimSpace(text)) == 0:
		return page, "the page is blank"
	case k.html:
		return render.Page{HTML: text}, ""
	}
	return render.Page{Text: text}, ""
}

const tooLong = "the page is longer than 10 MiB"

// toUTF8 converts a body. A byte order mark overrides the declared charset. Without a declaration,
// a body is UTF-8 if it is valid, and windows-1252 otherwise, as in browsers. Octets that are no
// character become U+FFFD. A CR without LF becomes LF.
func toUTF8(declared string, body []byte) ([]byte, error) {
	if _, name, certain := charset.DetermineEncoding(body[:min(len(body), 3)], ""); certain {
		declared = name
	}
	if declared == "" && !utf8.Valid(body) {
		declared = "windows-1252"
	}
	text := body
	switch declared {
	case "", "utf-8":
	case "replacement": // what the encoding standard has for charsets that must not be read
		return nil, errCharset
	default:
		e, _ := charset.Lookup(declared)
		var err error
		if text, err = e.NewDecoder().Bytes(body); err != nil {
			return nil, errCharset
		}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\ufffd"))
	}
	return endLines(text), nil
}

var errCharset = errors.New("not in its charset")

// endLines makes each CR that has no LF behind it an LF, in place.
func endLines(text []byte) []byte {
	for at := 0; ; at++ {
		i := bytes.IndexByte(text[at:], '\r')
		if i < 0 {
			return text
		}
		if at += i; at+1 == len(text) || text[at+1] != '\n' {
			text[at] = '\n'
		}
	}
}
