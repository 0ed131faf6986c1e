package dkim

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// What looks at eight octets at a time gives what the words of RFC 6376, 3.4.4, give.
func TestTheCanonicalFormOfABodyIsThatOfTheRFC(t *testing.T) {
	t.Parallel()
	runs, ends, last := regexp.MustCompile(`[ \t]+`), regexp.MustCompile(`[ \t]+(\r\n|$)`), regexp.MustCompile(`(\r\n)+$`)
	simple := func(body string) string {
		body = ends.ReplaceAllString(body, "$1")
		body = last.ReplaceAllString(runs.ReplaceAllString(body, " "), "")
		if body != "" {
			body += "\r\n"
		}
		return body
	}
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{" ", " ", "\t", "\r\n", "\r", "\n", "!", "\x1f", "\x80", "\xa0", "\xff", "words", "a word", "="}
	for range 5000 {
		var b strings.Builder
		for range rng.IntN(25) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		if got := string(appendRelaxedBody([]byte("before"), []byte(b.String()))); got != "before"+simple(b.String()) {
			t.Fatalf("the canonical form of %q is %q, want %q", b.String(), got, simple(b.String()))
		}
	}
}
