package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Keys sign tokens with the first key, and verify with all of them. To rotate, put a new key in
// front of the others. Remove a key when no mailing is kept whose tokens it has signed. Keys must
// have been parsed; they are safe for concurrent use.
type Keys []key

type key []byte

// minKey is the fewest characters of a key: 128 bits in hexadecimal digits.
const minKey = 32

// ParseKeys reads keys that are separated by blanks or line breaks. A key is any text of 32
// characters or more, such as the output of `openssl rand -hex 32`. The error quotes no key.
func ParseKeys(s string) (Keys, error) {
	var keys Keys
	var problems []error
	seen := map[string]bool{}
	for i, field := range strings.Fields(s) {
		switch {
		case len(field) < minKey:
			problems = append(problems, fmt.Errorf("key %d has %d characters: a key has %d or more, "+
				"for example from `openssl rand -hex 32`", i+1, len(field), minKey))
		case seen[field]:
			problems = append(problems, fmt.Errorf("key %d is there twice", i+1))
		}
		seen[field] = true
		sum := sha256.Sum256([]byte(field))
		keys = append(keys, sum[:])
	}
	if len(keys) == 0 {
		problems = append(problems, errors.New("there is no key in it: make one with `openssl rand -hex 32`"))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return keys, nil
}

// Name returns the name of the key that signs: 16 hexadecimal digits. Nothing can be signed with a
// name, so it can be stored and shown.
func (k Keys) Name() string { return k[0].name() }

// SignWith returns the same keys with the named one as the key that signs, or false if it is not
// among them.
func (k Keys) SignWith(name string) (Keys, bool) {
	for i := range k {
		if k[i].name() == name {
			return append(append(Keys{k[i]}, k[:i]...), k[i+1:]...), true
		}
	}
	return nil, false
}

// Has reports whether the named key is among the keys.
func (k Keys) Has(name string) bool {
	_, ok := k.SignWith(name)
	return ok
}

// name is a hash under the key of a text that is no token: no token begins with this octet.
func (k key) name() string { return hex.EncodeToString(k.mac([]byte("name of the key"))[:8]) }

// Format writes the number of keys, and nothing of a key, for every verb.
func (k Keys) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d token keys", len(k)) }

// MarshalText returns the number of keys, for logs.
func (k Keys) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d token keys", len(k)), nil }

// Seal returns a keyed hash over a text that is no token, in the spelling of URLs.
func (k Keys) Seal(text string) string { return inURLs.EncodeToString(k[0].mac([]byte(text))) }

// SealedBy reports, in constant time, whether one of the keys has made the hash of the text.
func (k Keys) SealedBy(text, seal string) bool {
	mac, err := inURLs.DecodeString(seal)
	sealed := 0
	for _, key := range k {
		sealed |= subtle.ConstantTimeCompare(mac, key.mac([]byte(text)))
	}
	return err == nil && sealed == 1
}
