package dkim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// oversigned are the fields that every signature covers once more than the message has them. So
// nobody can add another one, or add a missing one, without breaking the signature. They say who
// wrote, to whom, what and when, how the body is read, and what a reader's buttons do.
var oversigned = []string{
	"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references",
	"mime-version", "content-type", "content-transfer-encoding",
	"list-id", "list-unsubscribe", "list-unsubscribe-post", "feedback-id", "auto-submitted",
}

// unsigned are the fields that servers on the way write or remove.
var unsigned = []string{
	"return-path", "received", "bcc", "dkim-signature", "authentication-results", "delivered-to",
}

// Signing signs the messages of one mailing. It is not safe for concurrent use.
type Signing struct {
	keys []*Key
	time string // seconds

	fields []field  // of the message
	extra  []string // names of fields that are not oversigned in any case, each once
	list   []byte   // the tag h, folded
	canon  []byte   // canonical header, or body
	out    []byte   // the signatures of the latest message
}

// NewSigning returns a Signing with the signer's keys. Every signature has the time, so that a
// message that is signed again has the same octets.
func (s *Signer) NewSigning(at time.Time) *Signing {
	return &Signing{keys: s.keys, time: strconv.FormatInt(at.Unix(), 10)}
}

var errNoHeader = errors.New("sign: the message has no end of its header")

// Room returns how many octets the signatures of the next message probably have.
func (s *Signing) Room() int { return len(s.out) }

// Sign puts a DKIM-Signature field of each key before the message that begins at buf[start+room].
// The fields take the place of the room, which may be 0. If [Signing.Room] was right, the message
// stays where it is. Its lines must end in CRLF. Sign returns the slice, which may have another
// length.
func (s *Signing) Sign(buf []byte, start, room int) ([]byte, error) {
	message := buf[start+room:]
	header, body, ok := bytes.Cut(message, []byte("\r\n\r\n"))
	if !ok {
		return buf, errNoHeader
	}
	s.canon = appendRelaxedBody(s.canon[:0], body)
	bodyHash := sha256.Sum256(s.canon)
	s.readHeader(message[:len(header)+len(crlf)])
	s.out = s.out[:0]
	for _, key := range s.keys {
		if err := s.appendSignature(key, bodyHash); err != nil {
			return buf, err
		}
	}
	return slices.Replace(buf, start, start+room, s.out...), nil
}

// readHeader sets the list of the signed fields and their canonical form.
func (s *Signing) readHeader(header []byte) {
	s.fields = appendFields(s.fields[:0], header)
	s.extra, s.list, s.canon = s.extra[:0], s.list[:0], s.canon[:0]
	for _, f := range s.fields {
		if knownNames[f.name] == "" && !slices.Contains(s.extra, f.name) {
			s.extra = append(s.extra, f.name)
		}
	}
	for _, name := range oversigned {
		s.cover(name)
	}
	for _, name := range s.extra {
		s.cover(name)
	}
}

// listWidth is where the list of fields is folded.
const listWidth = 72

// cover adds every field of the name to what is signed, the last first (RFC 6376, 5.4.2), and the
// name once more.
func (s *Signing) cover(name string) {
	s.addToList(name)
	for _, f := range slices.Backward(s.fields) {
		if f.name == name {
			s.canon = appendRelaxedField(s.canon, f.name, f.value)
			s.addToList(name)
		}
	}
}

func (s *Signing) addToList(name string) {
	switch line := len(s.list) - 1 - bytes.LastIndexByte(s.list, '\n'); {
	case len(s.list) == 0:
	case line+len(":")+len(name) > listWidth:
		s.list = append(s.list, ":\r\n "...)
	default:
		s.list = append(s.list, ':')
	}
	s.list = append(s.list, name...)
}

// signatureName is the field's name with its colon and a blank.
const signatureName = "DKIM-Signature: "

// signatureWidth is where the signature itself is folded.
const signatureWidth = 76

// appendSignature appends the field of one key to s.out.
func (s *Signing) appendSignature(key *Key, bodyHash [sha256.Size]byte) error {
	start := len(s.out)
	b := append(s.out, signatureName...)
	b = append(b, "v=1; a="...)
	b = append(b, key.Algorithm...)
	b = append(b, "-sha256; c=relaxed/relaxed; t="...)
	b = append(b, s.time...)
	b = append(b, ";\r\n d="...)
	b = append(b, key.Domain...)
	b = append(b, ";\r\n s="...)
	b = append(b, key.Selector...)
	b = append(b, ";\r\n h="...)
	b = append(b, s.list...)
	b = append(b, ";\r\n bh="...)
	b = base64.StdEncoding.AppendEncode(b, bodyHash[:])
	b = append(b, ";\r\n b="...)
	s.out = b

	signed := len(s.canon)
	s.canon = appendRelaxedField(s.canon, "dkim-signature", b[start+len(signatureName):])
	digest := sha256.Sum256(s.canon[:len(s.canon)-len(crlf)])
	s.canon = s.canon[:signed]
	signature, err := key.sign(digest[:])
	if err != nil {
		return fmt.Errorf("sign with the key %s: %w", key, err)
	}
	s.out = appendFoldedBase64(s.out, len(" b="), signature)
	return nil
}

// appendFoldedBase64 appends the line end, too. column is where the text begins.
func appendFoldedBase64(b []byte, column int, data []byte) []byte {
	var space [1024]byte // for keys of 4096 bits
	text := base64.StdEncoding.AppendEncode(space[:0], data)
	for len(text) > signatureWidth-column {
		b = append(b, text[:signatureWidth-column]...)
		b = append(b, "\r\n "...)
		text = text[signatureWidth-column:]
		column = 1
	}
	b = append(b, text...)
	return append(b, crlf...)
}
