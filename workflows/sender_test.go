package workflows

import (
	"strings"
	"testing"
)

func TestAnEnvelopeSenderMayHaveAPlaceForAToken(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"bounces+*@example.com":                  {"bounces+", "@example.com"},
		"*@bounces.example.com":                  {"", "@bounces.example.com"},
		"b-*-x@EXAMPLE.com":                      {"b-", "-x@example.com"},
		"b=*@bücher.example":                     {"b=", "@xn--bcher-kva.example"},
		strings.Repeat("b", 26) + "+*@a.example": {strings.Repeat("b", 26) + "+", "@a.example"},
	} {
		input := Input{From: "ada@example.com", EnvelopeSender: in}
		before, after, ok := input.SenderPattern()
		sender, err := input.Sender()
		if !ok || before != want[0] || after != want[1] || err != nil ||
			"@"+sender.Domain() != after[strings.Index(after, "@"):] {
			t.Errorf("%s: %q, %q, %v; the sender is %v, %v", in, before, after, ok, sender, err)
		}
	}
	for in, want := range map[string]string{
		"bounces@example.com":    "",
		"":                       "",
		"bounces*@example.com":   "has a letter or digit right beside the *",
		"bounces+*7@example.com": "has a letter or digit right beside the *",
		"b-*-*@example.com":      "has more than one *",
		"bounces@*.example.com":  "has a * after the @",
		"b-*@*.example.com":      "has more than one *",
		`"b *"@example.com`:      "has a * in quotation marks",
		"b-*":                    "has no @",
		"b-*@":                   "has nothing after the @",
		strings.Repeat("b", 27) + "+*@example.com": "a token has room beside 27 at most",
	} {
		input := Input{From: "ada@example.com", EnvelopeSender: in}
		_, err := input.Sender()
		_, _, ok := input.SenderPattern()
		if ok || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", in, ok, err, want)
		}
	}
}
