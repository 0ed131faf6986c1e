// Package message composes the exact bytes of one message: headers, and a text and an HTML body as
// multipart/alternative, both quoted-printable UTF-8. It appends to the caller's buffer and keeps
// no state.
//
// RFC 5322 (format), 2045 to 2047 (MIME), 2369 and 8058 (List-Unsubscribe), 2919 (List-Id), 6532
// (addresses in UTF-8).
//
// What comes out is safe to hand over as it is: lines end in CRLF, only ASCII (unless an address
// needs SMTPUTF8), no line of a body is longer than 76 octets, begins with a dot (nothing for SMTP
// to stuff) or with "From ", and no value can add a header or end the body. Errors never hold a
// value, so they can be logged.
package message

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strconv"
	"time"

	"directmailer/internal/audience/address"
)

// Message is what one recipient gets.
type Message struct {
	From    address.Mailbox
	ReplyTo address.Mailbox // none when it is the zero value
	To      address.Mailbox
	Subject string // UTF-8 without control characters; encoded and folded as needed
	Date    time.Time
	ID      string // with its angle brackets; see [ID]
	ListID  string // the identifier of RFC 2919 without angle brackets ("news.example.com"); none when empty
	// Fields are added behind the other fields of the header. EncodedFields stand before them: they
	// are results of [AppendField], for fields that many messages have in common.
	Fields        []Field
	EncodedFields []byte

	// UnsubscribeURL is the page where a POST unsubscribes the recipient (RFC 8058), and
	// UnsubscribeAddress the address whose mail does (RFC 2369). None when empty.
	UnsubscribeURL, UnsubscribeAddress string

	// Text and HTML are UTF-8. Lines may end in LF or CRLF; NUL and a CR without its LF are
	// refused. A nil body is left out; with only one there is no multipart. One of them must be
	// there.
	Text, HTML []byte

	// EncodedText and EncodedHTML are results of [Encode], for bodies that many messages have in
	// common. They replace Text and HTML.
	EncodedText, EncodedHTML []byte

	// TextInserts and HTMLInserts are whole encoded lines for Text and HTML, in the order of their
	// places.
	TextInserts, HTMLInserts []Insert
}

// Insert is the result of [Encode] for whole lines, and their place in a body: before the octet At,
// which begins a line or is the body's end.
type Insert struct {
	At      int
	Encoded []byte
}

// Encode encodes a body once for all messages that have it. Callers must not change the result.
func Encode(body []byte) ([]byte, error) { return appendQuotedPrintable(nil, body) }

// FieldError says which part of a message is not usable. Its text holds no value of the message.
type FieldError struct {
	// Field is "from", "reply_to", "to", "subject", "date", "message_id", "list_id", "unsubscribe",
	// "headers.NAME", "text" or "html".
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// What a [FieldError] wraps.
var (
	errControl   = errors.New("holds a line break or another control character")
	errNotUTF8   = errors.New("is not valid UTF-8")
	errBareCR    = errors.New("holds a CR without LF")
	errNUL       = errors.New("holds a NUL")
	ErrMissing   = errors.New("is missing")
	errMessageID = errors.New("is not of the form <left@right>")
	ErrListID    = errors.New("is not of the form label.example.com")
)

var digits = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ID returns the Message-ID of a recipient, with angle brackets: <mailing.recipient.hash@domain>,
// which is [Key] at the domain.
func ID(mailing string, recipient int32, address string, domain string) string {
	var id [512]byte
	b := append(id[:0], '<')
	b = appendKey(b, mailing, recipient, address)
	b = append(b, '@')
	b = append(b, domain...)
	b = append(b, '>')
	return string(b)
}

// Key names a recipient's message in a mailing: mailing.recipient.hash. It is a function of its
// arguments alone, so every attempt and every worker comes to the same; the address cannot be read
// from it.
//
// mailing must be a dot-atom, recipient is its number in the mailing, address the one frozen under
// that number.
func Key(mailing string, recipient int32, address string) string {
	var key [512]byte
	return string(appendKey(key[:0], mailing, recipient, address))
}

func appendKey(b []byte, mailing string, recipient int32, address string) []byte {
	var input [512]byte
	in := append(input[:0], mailing...)
	in = append(in, 0)
	in = strconv.AppendInt(in, int64(recipient), 10)
	in = append(in, 0)
	in = append(in, address...)
	sum := sha256.Sum256(in)
	b = append(b, mailing...)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(recipient), 10)
	b = append(b, '.')
	return digits.AppendEncode(b, sum[:10])
}

// NeedsUTF8 reports whether an address has a non-ASCII local part, so that the message can only be
// handed to a server that offers SMTPUTF8.
func (m *Message) NeedsUTF8() bool {
	return m.From.Address.NeedsUTF8() || m.ReplyTo.Address.NeedsUTF8() || m.To.Address.NeedsUTF8()
}

// Append appends the message to dst. The same message gives the same bytes. The error is a
// [*FieldError], and dst is then returned as it came.
func (m *Message) Append(dst []byte) ([]byte, error) {
	out, err := m.appendHeader(dst)
	if err != nil {
		return dst, err
	}
	if out, err = m.appendBody(out); err != nil {
		return dst, err
	}
	return out, nil
}

func (m *Message) appendHeader(b []byte) ([]byte, error) {
	var err error
	if b, err = appendMailbox(b, "From: ", "from", m.From); err != nil {
		return b, err
	}
	if b, err = appendMailbox(b, "To: ", "to", m.To); err != nil {
		return b, err
	}
	if m.ReplyTo != (address.Mailbox{}) {
		if b, err = appendMailbox(b, "Reply-To: ", "reply_to", m.ReplyTo); err != nil {
			return b, err
		}
	}
	if b, err = appendUnstructured(b, "Subject: ", m.Subject); err != nil {
		return b, &FieldError{"subject", err}
	}
	if m.Date.IsZero() {
		return b, &FieldError{"date", ErrMissing}
	}
	b = append(b, "Date: "...)
	b = m.Date.AppendFormat(b, "Mon, 02 Jan 2006 15:04:05 -0700")
	if !validMessageID(m.ID) {
		return b, &FieldError{"message_id", errMessageID}
	}
	b = append(b, "\r\nMessage-ID: "...)
	b = append(b, m.ID...)
	if m.ListID != "" {
		if !ValidListID(m.ListID) {
			return b, &FieldError{"list_id", ErrListID}
		}
		b = append(b, "\r\nList-Id: <"...)
		b = append(b, m.ListID...)
		b = append(b, '>')
	}
	if b, err = m.appendUnsubscribe(b); err != nil {
		return b, err
	}
	b = append(b, "\r\n"...)
	b = append(b, m.EncodedFields...)
	for _, each := range m.Fields {
		if b, err = AppendField(b, each); err != nil {
			return b, err
		}
	}
	return append(b, "MIME-Version: 1.0\r\n"...), nil
}

const (
	textHeader = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
	htmlHeader = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
)

func (m *Message) appendBody(b []byte) ([]byte, error) {
	hasText, hasHTML := m.Text != nil || m.EncodedText != nil, m.HTML != nil || m.EncodedHTML != nil
	switch {
	case !hasText && !hasHTML:
		return b, &FieldError{"text", ErrMissing}
	case !hasHTML:
		return appendPart(b, textHeader, "text", m.Text, m.EncodedText, m.TextInserts)
	case !hasText:
		return appendPart(b, htmlHeader, "html", m.HTML, m.EncodedHTML, m.HTMLInserts)
	}
	var space [32]byte
	boundary := appendBoundary(space[:0], m.ID)
	b = append(b, "Content-Type: multipart/alternative;\r\n boundary=\""...)
	b = append(b, boundary...)
	b = append(b, "\"\r\n\r\n--"...)
	b = append(b, boundary...)
	b = append(b, "\r\n"...)
	b, err := appendPart(b, textHeader, "text", m.Text, m.EncodedText, m.TextInserts)
	if err != nil {
		return b, err
	}
	b = append(b, "--"...)
	b = append(b, boundary...)
	b = append(b, "\r\n"...)
	if b, err = appendPart(b, htmlHeader, "html", m.HTML, m.EncodedHTML, m.HTMLInserts); err != nil {
		return b, err
	}
	b = append(b, "--"...)
	b = append(b, boundary...)
	return append(b, "--\r\n"...), nil
}

// appendBoundary derives the boundary from the Message-ID. It begins with "=_", which
// quoted-printable cannot give: there an "=" comes before two hexadecimal digits or the end of the
// line. So no body can hold the boundary, whatever it says.
func appendBoundary(b []byte, id string) []byte {
	var space [512]byte
	sum := sha256.Sum256(append(space[:0], id...))
	b = append(b, "=_"...)
	return digits.AppendEncode(b, sum[:15])
}

func appendPart(b []byte, header, field string, body, encoded []byte, inserts []Insert) ([]byte, error) {
	b = append(b, header...)
	if encoded != nil {
		return append(b, encoded...), nil
	}
	var err error
	done := 0
	for _, each := range inserts {
		if b, err = appendQuotedPrintable(b, body[done:each.At]); err != nil {
			return b, &FieldError{field, err}
		}
		b = append(b, each.Encoded...)
		done = each.At
	}
	if b, err = appendQuotedPrintable(b, body[done:]); err != nil {
		return b, &FieldError{field, err}
	}
	return b, nil
}
