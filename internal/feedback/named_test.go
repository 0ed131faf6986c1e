package feedback

import (
	"strings"
	"testing"

	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/token/tokentest"
)

func TestAnAddressNamesTheRecipientOfItsToken(t *testing.T) {
	t.Parallel()
	keys := tokentest.Keys(t, "o")
	r := token.Recipient{Mailing: 12, Number: 3456}
	bounce, request := keys.ForAddress(token.Bounce, r), keys.ForAddress(token.Unsubscribe, r)
	for address, kind := range map[string]token.Kind{
		"b-" + bounce + "@example.com":                  token.Bounce,
		strings.ToUpper("b-" + bounce + "@example.com"): token.Bounce,
		"u-" + request + "@example.com":                 token.Unsubscribe,
		"bounces+" + bounce + "@example.com":            token.Bounce,
		bounce + "@example.com":                         token.Bounce,
		"b-" + bounce + "-x@example.com":                token.Bounce,
		"prvs=0123456789=b-" + bounce + "@example.com":  token.Bounce, // BATV
		"b=" + bounce:                                          token.Bounce,
		"bücher+" + bounce + "@bücher.example":                 token.Bounce,
		"u-" + bounce + "@example.com":                         token.Bounce, // the token says what it is for
		"aaaaaaaaaaaaaaaaaaaaaaaaa+" + bounce + "@example.com": token.Bounce,
	} {
		if got, ok := ReadAddress(keys, address); !ok || got != (Named{r, kind}) {
			t.Errorf("%s: %+v, %v", address, got, ok)
		}
	}
	for _, address := range []string{
		"", "@", "b-@example.com", "postmaster@example.com", "b-" + bounce[1:] + "@example.com",
		"b-" + bounce + "a@example.com", "x" + bounce + "@example.com", "example@" + bounce,
		"b-" + keys.ForAddress(token.Test, r) + "@example.com", strings.Repeat("a", 40) + "+" + bounce + "@example.com",
		"b-" + keys.ForURL(token.Bounce, r) + "@example.com", bounce[:10] + "+" + bounce[10:] + "@example.com",
	} {
		if got, ok := ReadAddress(keys, address); ok {
			t.Errorf("%q names %+v", address, got)
		}
	}
}

func TestABounceAddressIsReadAsItWasMade(t *testing.T) {
	t.Parallel()
	keys := tokentest.Keys(t, "o")
	s := Settings{Keys: keys, BounceDomain: "bounce.example.com"}
	links, err := s.Links(7, s.Marks())
	if err != nil {
		t.Fatal(err)
	}
	for address, kind := range map[string]token.Kind{
		links.BounceAddress(5):                                      token.Bounce,
		links.BounceAddressIn("bounces+", "@example.com", 5):        token.Bounce,
		links.BounceAddressIn(strings.Repeat("b", 26)+"+", "@x", 5): token.Bounce,
		links.UnsubscribeAddress(5):                                 token.Unsubscribe,
	} {
		if got, ok := ReadAddress(keys, address); !ok || got != (Named{token.Recipient{Mailing: 7, Number: 5}, kind}) {
			t.Errorf("%s: %+v, %v", address, got, ok)
		}
	}
	if again := links.BounceAddress(5); again != links.BounceAddress(5) || again == links.BounceAddress(6) {
		t.Error("a bounce address is not that of its recipient")
	}
	var none *Links
	preview := s.PreviewLinks().BounceAddress(5)
	if _, ok := ReadAddress(keys, preview); ok || preview == "" {
		t.Errorf("a preview has the bounce address %q", preview)
	}
	if none.BounceAddress(5) != "" || none.BounceAddressIn("a", "b", 5) != "" || none.HasBounceDomain() {
		t.Error("without links there is a bounce address")
	}
}
