package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

var everyKind = []Kind{Unsubscribe, Bounce, Test}

func keysOf(t testing.TB, names ...string) Keys {
	t.Helper()
	var all []string
	for _, name := range names {
		all = append(all, name+strings.Repeat("-", minKey))
	}
	keys, err := ParseKeys(strings.Join(all, " "))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestATokenNamesItsRecipientInBothSpellings(t *testing.T) {
	keys := keysOf(t, "a")
	for _, r := range []Recipient{{1, 1}, {127, 128}, {300, 10_000_000}, {math.MaxInt64, math.MaxInt32}} {
		for _, kind := range everyKind {
			if got, err := keys.FromURL(kind, keys.ForURL(kind, r)); err != nil || got != r {
				t.Errorf("%v in a URL is read as %v, %v", r, got, err)
			}
			address := keys.ForAddress(kind, r)
			for _, spelling := range []string{address, strings.ToUpper(address), strings.ToUpper(address[:5]) + address[5:]} {
				if got, err := keys.FromAddress(kind, spelling); err != nil || got != r {
					t.Errorf("%v in an address, as %s, is read as %v, %v", r, spelling, got, err)
				}
			}
		}
	}
}

func TestATokenIsTheSameEachTime(t *testing.T) {
	r := Recipient{12, 34}
	if a, b := keysOf(t, "a").ForURL(Bounce, r), keysOf(t, "a").ForURL(Bounce, r); a != b {
		t.Errorf("two tokens of one recipient: %s, %s", a, b)
	}
}

// A token is in messages that are years old, so its bytes must not change by accident.
func TestTheBytesOfATokenStay(t *testing.T) {
	got := keysOf(t, "a").ForURL(Unsubscribe, Recipient{Mailing: 300, Number: 70_000})
	if want := "EawC8KIELiPTombz5xzNAJkl"; got != want {
		t.Errorf("the token is %s; tokens in mail that was sent are of the form %s", got, want)
	}
}

func TestABounceAddressHasRoomForItsToken(t *testing.T) {
	// A local part has 64 octets (RFC 5321, 4.5.3.1.1). A million mailings of a billion recipients.
	address := "bounces+" + keysOf(t, "a").ForAddress(Bounce, Recipient{1_000_000, 1_000_000_000})
	if len(address) > 48 {
		t.Errorf("%q has %d octets", address, len(address))
	}
	if longest := keysOf(t, "a").ForAddress(Bounce, Recipient{math.MaxInt64, math.MaxInt64}); len(longest) > MaxLength {
		t.Errorf("the longest token has %d characters, MaxLength is %d", len(longest), MaxLength)
	}
}

func TestATokenOfAnotherKindIsRefused(t *testing.T) {
	keys, r := keysOf(t, "a"), Recipient{1, 2}
	for _, made := range everyKind {
		for _, asked := range everyKind {
			_, inURL := keys.FromURL(asked, keys.ForURL(made, r))
			_, inAddress := keys.FromAddress(asked, keys.ForAddress(made, r))
			if (inURL == nil) != (made == asked) || (inAddress == nil) != (made == asked) {
				t.Errorf("a token of kind %d read as kind %d: %v, %v", made, asked, inURL, inAddress)
			}
		}
	}
}

func TestATokenThatWasChangedIsRefused(t *testing.T) {
	keys, r := keysOf(t, "a"), Recipient{70_000, 3_000_000}
	token := keys.ForURL(Unsubscribe, r)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, token string) {
		t.Helper()
		if got, err := keys.FromURL(Unsubscribe, token); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s is accepted as %v", what, got)
		}
	}
	for bit := range len(raw) * 8 {
		changed := append([]byte(nil), raw...)
		changed[bit/8] ^= 1 << (bit % 8)
		refused(fmt.Sprintf("a token with bit %d changed", bit), inURLs.EncodeToString(changed))
	}
	for n := range token {
		refused(fmt.Sprintf("a token cut to %d characters", n), token[:n])
	}
	refused("a token with a character more", token+"A")
	refused("a token with a line break", token[:4]+"\n"+token[4:])
	refused("a padded token", token+"=")
	refused("another alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(token)+"+")
	refused("the other spelling", keys.ForAddress(Unsubscribe, r))
	refused("a long text", strings.Repeat("A", 1<<20))
	for n := range keys.ForAddress(Unsubscribe, r) {
		if got, err := keys.FromAddress(Unsubscribe, keys.ForAddress(Unsubscribe, r)[:n]); err == nil {
			t.Errorf("an address cut to %d characters is accepted as %v", n, got)
		}
	}
}

// Two spellings of one token would be two events of one report.
func TestATokenHasOneSpelling(t *testing.T) {
	keys := keysOf(t, "a")
	for number := range 50 {
		r := Recipient{1, 1 << (number / 2)}
		address := keys.ForAddress(Bounce, r)
		for _, last := range "abcdefghijklmnopqrstuvwxyz234567" {
			other := address[:len(address)-1] + string(last)
			if _, err := keys.FromAddress(Bounce, other); err == nil && other != address {
				t.Fatalf("%s and %s are the same token", address, other)
			}
		}
	}
}

func TestAllKeysVerifyAndTheFirstSigns(t *testing.T) {
	r := Recipient{5, 6}
	before := keysOf(t, "old").ForURL(Unsubscribe, r)
	rotated := keysOf(t, "new", "old")
	if got, err := rotated.FromURL(Unsubscribe, before); err != nil || got != r {
		t.Errorf("a token of the old key: %v, %v", got, err)
	}
	now := rotated.ForURL(Unsubscribe, r)
	if now != keysOf(t, "new").ForURL(Unsubscribe, r) {
		t.Error("the first key has not signed")
	}
	if got, err := rotated.FromURL(Unsubscribe, now); err != nil || got != r {
		t.Errorf("a token of the new key: %v, %v", got, err)
	}
	if signs, ok := rotated.SignWith(keysOf(t, "old").Name()); !ok || signs.ForURL(Unsubscribe, r) != before {
		t.Error("the named key has not signed")
	}
	for _, key := range []string{"old", "new"} {
		if !rotated.SealedBy("text", keysOf(t, key).Seal("text")) {
			t.Errorf("the seal of the %s key is refused", key)
		}
	}
	if _, err := keysOf(t, "new").FromURL(Unsubscribe, before); !errors.Is(err, ErrInvalid) {
		t.Errorf("a token of a key that was removed: %v", err)
	}
}

func TestKeysThatAreTooWeakAreRefusedAndNotQuoted(t *testing.T) {
	long := strings.Repeat("s3cr3t", 6)
	for in, want := range map[string]string{
		"":                            "no key",
		" \n ":                        "no key",
		"s3cr3t":                      "key 1 has 6 characters",
		long + " s3cr3t":              "key 2 has 6 characters",
		long + "\n" + long + "\n":     "key 2 is there twice",
		"s3cr3t " + long + " " + long: "key 1 has 6 characters",
	} {
		_, err := ParseKeys(in)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%d characters: %v, want %q and no key", len(in), err, want)
		}
	}
	if _, err := ParseKeys(long[:minKey]); err != nil {
		t.Errorf("a key of the least length: %v", err)
	}
}

func FuzzToken(f *testing.F) {
	keys := keysOf(f, "a", "b")
	f.Add(keys.ForURL(Bounce, Recipient{1, 2}))
	f.Add(keys.ForAddress(Bounce, Recipient{1, 2}))
	f.Fuzz(func(t *testing.T, token string) {
		if r, err := keys.FromURL(Bounce, token); err == nil && keys.ForURL(Bounce, r) != token &&
			keys[1:].ForURL(Bounce, r) != token {
			t.Errorf("%q names %v, whose token is another", token, r)
		}
		if r, err := keys.FromAddress(Bounce, token); err == nil && keys.ForAddress(Bounce, r) != strings.ToLower(token) &&
			keys[1:].ForAddress(Bounce, r) != strings.ToLower(token) {
			t.Errorf("%q names %v, whose token is another", token, r)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	keys := keysOf(b, "a")
	for i := range b.N {
		keys.ForURL(Unsubscribe, Recipient{1, i + 1})
	}
}
