package report

import (
	"strings"
	"testing"

	"directmailer/internal/feedback/token"
)

func keysOf(t testing.TB, names ...string) token.Keys {
	t.Helper()
	var all []string
	for _, name := range names {
		all = append(all, name+strings.Repeat("-", 32))
	}
	keys, err := token.ParseKeys(strings.Join(all, " "))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
