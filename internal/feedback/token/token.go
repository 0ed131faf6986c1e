// Package token makes and reads the signed tokens that name a recipient of a mailing to the
// outside: in unsubscribe links, in bounce addresses and in tests.
//
// A token holds a kind, the key of a mailing and the number of a recipient, and a keyed hash over
// them (HMAC-SHA-256, RFC 2104, cut to 96 bits). It holds no address and no secret. The same
// recipient always has the same token, so a message that is rendered again has the same bytes.
//
// The same bytes have two spellings (RFC 4648): base64url in URLs, and lower-case base32 in
// addresses, where the case of letters may change on the way.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// Kind is what a token is for. A token of one kind is never accepted for another.
type Kind byte

// The kinds. Their numbers are in messages that people keep for years: none is used again.
const (
	Unsubscribe Kind = 1 + iota // an unsubscribe link
	Bounce                      // a bounce address
	Test                        // a message of a test, which counts nowhere
)

// Recipient is whom a token names: a recipient of a mailing, by the keys of the database.
type Recipient struct {
	Mailing int64 // mailings.key, 1 or more
	Number  int   // recipients.number, 1 or more
}

// ErrInvalid is the only error of reading a token. It does not tell what is wrong, because the
// reader is a stranger.
var ErrInvalid = errors.New("the token is not valid")

const (
	version = 1
	macSize = 12
	// maxSize is that of the head and two numbers of 64 bits.
	maxSize = 1 + 2*binary.MaxVarintLen64 + macSize

	// MaxLength is the length of the longest token in either spelling, in octets.
	MaxLength = (maxSize*8 + 4) / 5
)

var (
	inURLs      = base64.RawURLEncoding.Strict()
	inAddresses = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// ForURL returns the token of a recipient for use in a URL.
func (k Keys) ForURL(kind Kind, r Recipient) string {
	return inURLs.EncodeToString(k.seal(kind, r))
}

// ForAddress returns the token of a recipient for use in the local part of an address.
func (k Keys) ForAddress(kind Kind, r Recipient) string {
	return inAddresses.EncodeToString(k.seal(kind, r))
}

// FromURL returns the recipient that a token of a URL names. The error is ErrInvalid for a token
// that none of the keys has signed, or that is of another kind.
func (k Keys) FromURL(kind Kind, token string) (Recipient, error) {
	b, err := fromURL(token)
	if err != nil {
		return Recipient{}, ErrInvalid
	}
	return k.open(kind, b)
}

func fromURL(token string) ([]byte, error) {
	if len(token) > MaxLength {
		return nil, ErrInvalid
	}
	b, err := inURLs.DecodeString(token)
	if err != nil || inURLs.EncodeToString(b) != token { // the decoder skips line breaks
		return nil, ErrInvalid
	}
	return b, nil
}

// FromAddress returns the recipient that a token of an address names, in any case of letters. The
// error is as that of FromURL.
func (k Keys) FromAddress(kind Kind, token string) (Recipient, error) {
	b, err := fromAddress(token)
	if err != nil {
		return Recipient{}, ErrInvalid
	}
	return k.open(kind, b)
}

func fromAddress(token string) ([]byte, error) {
	if len(token) > MaxLength {
		return nil, ErrInvalid
	}
	token = strings.ToLower(token)
	b, err := inAddresses.DecodeString(token)
	if err != nil || inAddresses.EncodeToString(b) != token { // unused bits must be zero
		return nil, ErrInvalid
	}
	return b, nil
}

// ClaimOfAddress returns the recipient that a token of an address names, whoever has signed it. ok
// is false for a text that no key can have signed as a token of this kind.
func ClaimOfAddress(kind Kind, token string) (claimed Recipient, ok bool) {
	b, err := fromAddress(token)
	if err != nil {
		return Recipient{}, false
	}
	return claim(kind, b)
}

// ClaimOfURL is as ClaimOfAddress for a token of a URL.
func ClaimOfURL(kind Kind, token string) (claimed Recipient, ok bool) {
	b, err := fromURL(token)
	if err != nil {
		return Recipient{}, false
	}
	return claim(kind, b)
}

func claim(kind Kind, b []byte) (Recipient, bool) {
	if len(b) <= macSize {
		return Recipient{}, false
	}
	r, err := parse(kind, b[:len(b)-macSize])
	return r, err == nil && r.Mailing > 0 && r.Number > 0
}

// seal returns the bytes of a token: version and kind, mailing, number, hash.
func (k Keys) seal(kind Kind, r Recipient) []byte {
	b := make([]byte, 0, maxSize)
	b = append(b, version<<4|byte(kind))
	b = binary.AppendUvarint(b, uint64(r.Mailing))
	b = binary.AppendUvarint(b, uint64(r.Number))
	return append(b, k[0].mac(b)...)
}

// open checks the hash before it looks at anything else. It tries every key, so that the time does
// not tell which key has signed.
func (k Keys) open(kind Kind, b []byte) (Recipient, error) {
	if len(b) <= macSize {
		return Recipient{}, ErrInvalid
	}
	content, mac := b[:len(b)-macSize], b[len(b)-macSize:]
	signed := 0
	for _, key := range k {
		signed |= subtle.ConstantTimeCompare(mac, key.mac(content))
	}
	if signed != 1 {
		return Recipient{}, ErrInvalid
	}
	return parse(kind, content)
}

// parse reads a token without its hash.
func parse(kind Kind, content []byte) (Recipient, error) {
	if content[0] != version<<4|byte(kind) {
		return Recipient{}, ErrInvalid
	}
	mailing, n := binary.Uvarint(content[1:])
	if n <= 0 {
		return Recipient{}, ErrInvalid
	}
	number, m := binary.Uvarint(content[1+n:])
	if m <= 0 || 1+n+m != len(content) {
		return Recipient{}, ErrInvalid
	}
	return Recipient{Mailing: int64(mailing), Number: int(number)}, nil
}

func (k key) mac(b []byte) []byte {
	h := hmac.New(sha256.New, k)
	h.Write(b)
	return h.Sum(nil)[:macSize]
}
