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
	names  [][]byte // lower-case names of fields, each once
	list   []byte   // the tag h, folded
	canon  []byte   // canonical header, or body
	out    []byte   // the signatures of the message
}

// NewSigning returns a Signing with the signer's keys. Every signature has the time, so that a
// message that is signed again has the same octets.
func (s *Signer) NewSigning(at time.Time) *Signing {
	return &Signing{keys: s.keys, time: strconv.FormatInt(at.Unix(), 10)}
}

var errNoHeader = errors.New("sign: the message has no end of its header")

// Sign puts a DKIM-Signature field of each key before the message that begins at message[start].
// The message must have lines that end in CRLF. Sign returns the longer slice.
func (s *Signing) Sign(message []byte, start int) ([]byte, error) {
	header, body, ok := bytes.Cut(message[start:], []byte("\r\n\r\n"))
	if !ok {
		return message, errNoHeader
	}
	s.canon = appendRelaxedBody(s.canon[:0], body)
	bodyHash := sha256.Sum256(s.canon)
	s.readHeader(message[start : start+len(header)+len(crlf)])
	s.out = s.out[:0]
	for _, key := range s.keys {
		if err := s.appendSignature(key, bodyHash); err != nil {
			return message, err
		}
	}
	return slices.Insert(message, start, s.out...), nil
}

// readHeader sets the list of the signed fields and their canonical form.
func (s *Signing) readHeader(header []byte) {
	s.fields = appendFields(s.fields[:0], header)
	s.names, s.list, s.canon = s.names[:0], s.list[:0], s.canon[:0]
	for _, name := range oversigned {
		s.cover(name)
	}
	for _, f := range s.fields {
		// A message has about a dozen fields, so this looks through a short list.
		if !contains(oversigned, f.name) && !contains(unsigned, f.name) && !slices.ContainsFunc(s.names,
			func(name []byte) bool { return bytes.EqualFold(name, f.name) }) {
			s.names = append(s.names, f.name)
			s.cover(string(f.name))
		}
	}
}

func contains(names []string, name []byte) bool {
	return slices.ContainsFunc(names, func(each string) bool {
		return len(each) == len(name) && bytes.EqualFold([]byte(each), name)
	})
}

// listWidth is where the list of fields is folded.
const listWidth = 72

// cover adds every field of the name to what is signed, the last first (RFC 6376, 5.4.2), and the
// name once more.
func (s *Signing) cover(name string) {
	count := 1
	for _, f := range slices.Backward(s.fields) {
		if len(f.name) == len(name) && bytes.EqualFold(f.name, []byte(name)) {
			s.canon = appendRelaxedField(s.canon, f)
			count++
		}
	}
	for range count {
		line := len(s.list) - 1 - bytes.LastIndexByte(s.list, '\n')
		switch {
		case len(s.list) == 0:
		case line+len(":")+len(name) > listWidth:
			s.list = append(s.list, ":\r\n "...)
		default:
			s.list = append(s.list, ':')
		}
		s.list = appendLower(s.list, []byte(name))
	}
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
	value := b[start+len(signatureName):]
	s.canon = appendRelaxedField(s.canon, field{[]byte("dkim-signature"), value})
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
