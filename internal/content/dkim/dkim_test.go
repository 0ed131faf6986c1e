package dkim_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"directmailer/internal/content/dkim"
	"directmailer/internal/content/dkim/dkimtest"
)

const domain = "news.example.com"

func bothKeys(t testing.TB) dkim.Keys {
	t.Helper()
	return dkimtest.Keys(t, domain, dkim.RSA, dkim.Ed25519)
}

func TestEveryShapeOfMessagePassesAnotherVerifier(t *testing.T) {
	t.Parallel()
	keys := bothKeys(t)
	for _, s := range corpus(t, keys) {
		if err := dkimtest.Verify(s.data, keys.For(domain).Keys()); err != nil {
			t.Errorf("%s: %v\n%s", s.name, err, s.data[:min(len(s.data), 2000)])
		}
	}
}

// full is a message that has every field that a mailing can write, and some more.
const full = "From: News <news@news.example.com>\r\nSender: news@news.example.com\r\n" +
	"Reply-To: letters@news.example.com\r\nTo: Zoe <zoe@example.org>\r\nCc: amy@example.org\r\n" +
	"Subject: Hello\r\n there\r\nDate: Mon, 30 Nov 2026 08:00:00 +0000\r\nMessage-ID: <a@news.example.com>\r\n" +
	"In-Reply-To: <b@example.com>\r\nReferences: <b@example.com>\r\nList-Id: <readers.news.example.com>\r\n" +
	"List-Unsubscribe: <https://news.example.com/u/abc>,\r\n <mailto:u@news.example.com>\r\n" +
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" +
	"Feedback-ID: m:readers:news\r\n" +
	"Auto-Submitted: auto-generated\r\nX-Campaign: spring\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"Content-Transfer-Encoding: quoted-printable\r\n\r\nHello,  Zoe\r\n\r\nGoodbye\r\n"

var at = time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)

func sign(t testing.TB, keys dkim.Keys, message string) []byte {
	t.Helper()
	signed, err := keys.For(domain).NewSigning(at).Sign([]byte(message), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// fieldsOf returns the fields of a header without signatures.
func fieldsOf(message string) []string {
	header, _, _ := strings.Cut(message, "\r\n\r\n")
	return strings.Split(strings.ReplaceAll(header, "\r\n ", "\v"), "\r\n")
}

func TestAChangeOfASignedFieldOrOfTheBodyBreaksTheSignature(t *testing.T) {
	t.Parallel()
	keys := bothKeys(t)
	signed := string(sign(t, keys, full))
	if err := dkimtest.Verify([]byte(signed), keys.For(domain).Keys()); err != nil {
		t.Fatal(err)
	}
	broken := func(what, message string) {
		t.Helper()
		for _, key := range keys.For(domain).Keys() {
			// Each signature must be broken, so each is verified without the record of the other.
			err := dkimtest.Verify([]byte(message), []*dkim.Key{key, key})
			if err == nil || !strings.Contains(err.Error(), "signature did not verify") &&
				!strings.Contains(err.Error(), "body hash did not verify") {
				t.Errorf("%s: the signature of %s still verifies: %v", what, key, err)
			}
		}
	}
	for _, f := range fieldsOf(full) {
		f = strings.ReplaceAll(f, "\v", "\r\n ")
		name, value, _ := strings.Cut(f, ":")
		broken("changed "+name, strings.Replace(signed, "\r\n"+f, "\r\n"+name+": x"+value, 1))
		broken("removed "+name, strings.Replace(signed, "\r\n"+f, "", 1))
		for _, second := range []string{name, strings.ToLower(name), strings.ToUpper(name), name + " "} {
			broken("added above "+second, second+": other\r\n"+signed)
			broken("added below "+second, strings.Replace(signed, "\r\n\r\n", "\r\n"+second+": other\r\n\r\n", 1))
		}
	}
	broken("changed body", strings.Replace(signed, "Zoe\r\n\r\nGoodbye", "Zoo\r\n\r\nGoodbye", 1))
	broken("longer body", signed+"more\r\n")
	broken("shorter body", strings.Replace(signed, "Goodbye\r\n", "", 1))
	broken("another blank line", strings.Replace(signed, "\r\n\r\nGoodbye", "\r\n\r\n\r\nGoodbye", 1))
}

// A batch has the signature of each message in the place of the one before. The latter of two
// fields of a name is signed first (RFC 6376, 5.4.2).
func TestASignatureTakesTheRoomThatIsLeftForIt(t *testing.T) {
	t.Parallel()
	keys := bothKeys(t)
	s := keys.For(domain).NewSigning(at)
	message := strings.Replace(full, "X-Campaign: spring\r\n", "X-Campaign: spring\r\nX-Campaign: summer\r\n", 1)
	var first []byte
	for range 2 {
		room := s.Room()
		buf := append([]byte("before"), make([]byte, room)...)
		buf, err := s.Sign(append(buf, message...), len("before"), room)
		if err != nil {
			t.Fatal(err)
		}
		signed, ok := bytes.CutPrefix(buf, []byte("before"))
		if err := dkimtest.Verify(signed, keys.For(domain).Keys()); err != nil || !ok {
			t.Errorf("with a room of %d octets: %v", room, err)
		}
		if first == nil {
			first = signed
		} else if !bytes.Equal(signed, first) {
			t.Errorf("with a room of %d octets, the same message has other octets", room)
		}
	}
	if list := strings.ReplaceAll(string(first), "\r\n ", ""); strings.Count(list, ":x-campaign") != 2*3 {
		t.Errorf("the fields are not signed once and once more: %s", list[:500])
	}
}

func TestAFieldThatAMessageLacksCannotBeAdded(t *testing.T) {
	t.Parallel()
	keys := bothKeys(t)
	least := "From: news@news.example.com\r\nDate: Mon, 30 Nov 2026 08:00:00 +0000\r\n\r\nHello\r\n"
	signed := string(sign(t, keys, least))
	for _, f := range fieldsOf(full) {
		f = strings.ReplaceAll(f, "\v", "\r\n ")
		if strings.HasPrefix(f, "X-") {
			continue
		}
		if err := dkimtest.Verify([]byte(f+"\r\n"+signed), keys.For(domain).Keys()); err == nil {
			t.Errorf("the signature verifies with a new %s", f)
		}
	}
	// What servers on the way add does not matter.
	added := "Return-Path: <>\r\nReceived: by mx.example.org\r\nAuthentication-Results: example.org; none\r\n" +
		"X-Spam-Status: No\r\n" + signed
	if err := dkimtest.Verify([]byte(added), keys.For(domain).Keys()); err != nil {
		t.Error(err)
	}
}

func TestASignatureSaysWhatReceiversAskFor(t *testing.T) {
	t.Parallel()
	keys := bothKeys(t)
	signed := sign(t, keys, full)
	for _, key := range keys.For(domain).Keys() {
		unfolded := strings.ReplaceAll(string(signed), "\r\n ", "")
		tags := map[string]string{}
		for line := range strings.Lines(unfolded) {
			value, ok := strings.CutPrefix(line, "DKIM-Signature: ")
			if !ok || !strings.Contains(value, "a="+string(key.Algorithm)+"-sha256;") {
				continue
			}
			for tag := range strings.SplitSeq(strings.TrimSuffix(value, "\r\n"), ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(tag), "=")
				tags[name] = value
			}
		}
		for name, want := range map[string]string{"v": "1", "c": "relaxed/relaxed", "d": domain, "s": string(key.Algorithm),
			"t": fmt.Sprint(at.Unix()), "l": "", "x": "", "i": "", "q": ""} {
			if tags[name] != want {
				t.Errorf("%s: the tag %s is %q, not %q", key, name, tags[name], want)
			}
		}
		count := map[string]int{}
		for name := range strings.SplitSeq(tags["h"], ":") {
			count[name]++
		}
		for _, f := range fieldsOf(full) {
			name, _, _ := strings.Cut(f, ":")
			if n := count[strings.ToLower(name)]; n != 2 {
				t.Errorf("%s: %s is covered %d times, not twice", key, name, n)
			}
		}
	}
	for line := range bytes.Lines(signed) {
		if len(line) > 78+len("\r\n") {
			t.Errorf("a line of %d octets: %s", len(line), line)
		}
	}
}

func TestTheNearestDomainWithKeysSigns(t *testing.T) {
	t.Parallel()
	var entries dkim.Entries
	if err := entries.UnmarshalText([]byte("example.com=/k?selector=a news.example.com=/k?selector=b " +
		"example.co.uk=/k?selector=c co.uk=/k?selector=d com=/k?selector=e localhost=/k?selector=f " +
		"news.example.com=/k?selector=g")); err == nil {
		t.Fatal("a top-level domain was taken")
	}
	_ = entries.UnmarshalText([]byte("example.com=/k?selector=a news.example.com=/k?selector=b " +
		"example.co.uk=/k?selector=c co.uk=/k?selector=d localhost=/k?selector=f news.example.com=/k?selector=g"))
	for from, want := range map[string]string{
		"example.com": "a", "other.example.com": "a", "deep.other.example.com": "a", "news.example.com": "b g",
		"spring.news.example.com": "b g", "example.co.uk": "c", "news.example.co.uk": "c", "another.co.uk": "",
		"co.uk": "d", "example.net": "", "notexample.com": "", "localhost": "f", "": "",
	} {
		var got []string
		for _, e := range entries.For(from) {
			got = append(got, e.Selector)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is signed by %q, not %q", from, got, want)
		}
	}
}
