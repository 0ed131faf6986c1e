package token

import (
	"crypto/sha256"
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
