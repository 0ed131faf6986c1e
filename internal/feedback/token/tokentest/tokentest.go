// Package tokentest makes token keys for tests.
package tokentest

import (
	"strings"
	"testing"

	"directmailer/internal/feedback/token"
)

// Keys returns a key for each name. The same name gives the same key.
func Keys(t testing.TB, names ...string) token.Keys {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		text.WriteString(name + strings.Repeat("-", 32) + "\n")
	}
	keys, err := token.ParseKeys(text.String())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
