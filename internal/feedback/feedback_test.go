package feedback_test

import (
	"errors"
	"strings"
	"testing"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/token/tokentest"
)

func settings(t *testing.T, names ...string) feedback.Settings {
	return feedback.Settings{Keys: tokentest.Keys(t, names...), PublicURL: "https://mail.example.com",
		BounceDomain: "b.example.com"}
}

func TestALinkAndAnAddressNameTheirRecipient(t *testing.T) {
	s := settings(t, "a")
	l, err := s.Links(7, s.Marks())
	if err != nil {
		t.Fatal(err)
	}
	link, address := l.UnsubscribeURL(3), l.UnsubscribeAddress(3)
	in, ok := strings.CutPrefix(link, "https://mail.example.com/u/")
	want := token.Recipient{Mailing: 7, Number: 3}
	if r, err := s.Keys.FromURL(token.Unsubscribe, in); !ok || err != nil || r != want {
		t.Errorf("the link %s names %v, %v", link, r, err)
	}
	in, ok = strings.CutPrefix(strings.TrimSuffix(address, "@b.example.com"), "u-")
	if r, err := s.Keys.FromAddress(token.Unsubscribe, in); !ok || err != nil || r != want {
		t.Errorf("the address %s names %v, %v", address, r, err)
	}
}

func TestALinkOfATestUnsubscribesNobody(t *testing.T) {
	s := settings(t, "a")
	l, err := s.Links(7, s.Marks())
	if err != nil {
		t.Fatal(err)
	}
	in := strings.TrimPrefix(l.ForTest().UnsubscribeURL(3), "https://mail.example.com/u/")
	if _, err := s.Keys.FromURL(token.Unsubscribe, in); err == nil {
		t.Errorf("the token %s unsubscribes", in)
	}
	if _, err := s.Keys.FromURL(token.Test, in); err != nil {
		t.Errorf("the token %s is none of a test: %v", in, err)
	}
	if (*feedback.Links)(nil).ForTest() != nil {
		t.Error("a mailing without links has some in its test")
	}
}

// The environment may change while a mailing runs, and its messages must not.
func TestLinksStayAsTheyWereWhenTheMailingWasOpened(t *testing.T) {
	before := settings(t, "a")
	marks := before.Marks()
	first, err := before.Links(7, marks)
	if err != nil {
		t.Fatal(err)
	}
	rotated := settings(t, "b", "c", "a")
	rotated.PublicURL, rotated.BounceDomain = "https://new.example.com", "new.example.com"
	again, err := rotated.Links(7, marks)
	if err != nil {
		t.Fatal(err)
	}
	if first.UnsubscribeURL(3) != again.UnsubscribeURL(3) || first.UnsubscribeAddress(3) != again.UnsubscribeAddress(3) {
		t.Errorf("%s has become %s", first.UnsubscribeURL(3), again.UnsubscribeURL(3))
	}
	if _, err := rotated.Keys.FromURL(token.Unsubscribe, strings.TrimPrefix(again.UnsubscribeURL(3),
		"https://mail.example.com/u/")); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	_, err = settings(t, "b").Links(7, marks)
	var lacks *feedback.NoKeyError
	if !errors.As(err, &lacks) || lacks.Key != marks.TokenKey {
		t.Errorf("without the key: %v", err)
	}
}

func TestAMailingWithoutKeysHasNoLinks(t *testing.T) {
	none := feedback.Settings{PublicURL: "https://mail.example.com", BounceDomain: "b.example.com"}
	l, err := none.Links(7, none.Marks())
	if err != nil || l != nil || l.UnsubscribeURL(1) != "" || l.UnsubscribeAddress(1) != "" {
		t.Errorf("got %v, %v", l, err)
	}
	// A worker that has keys by now does not change the messages of this mailing.
	if l, err := settings(t, "a").Links(7, none.Marks()); err != nil || l != nil {
		t.Errorf("got %v, %v", l, err)
	}
	s := feedback.Settings{Keys: tokentest.Keys(t, "a")}
	if l, err = s.Links(7, s.Marks()); err != nil || l.UnsubscribeURL(1) != "" || l.UnsubscribeAddress(1) != "" {
		t.Errorf("without a URL and a domain: %q, %q, %v", l.UnsubscribeURL(1), l.UnsubscribeAddress(1), err)
	}
}

func TestALinkOfAPreviewUnsubscribesNobody(t *testing.T) {
	s := settings(t, "a")
	link := s.PreviewLinks().UnsubscribeURL(3)
	in, ok := strings.CutPrefix(link, "https://mail.example.com/u/")
	if r, err := s.Keys.FromURL(token.Unsubscribe, in); !ok || !errors.Is(err, token.ErrInvalid) {
		t.Errorf("%s names %v, %v", link, r, err)
	}
	if link := (feedback.Settings{}).PreviewLinks().UnsubscribeURL(3); !strings.HasPrefix(link,
		"https://preview.invalid/u/") {
		t.Errorf("without settings: %s", link)
	}
}

func TestOnlyLinksToThisMachineAreLocal(t *testing.T) {
	for url, local := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://localhost": true, "http://[::1]:8080/mail": true, "https://127.1.2.3": true,
		"": false, "https://mail.example.com": false, "http://localhost.example.com": false,
		"https://127.0.0.1.example.com": false, "https://10.0.0.1": false,
	} {
		if got := (feedback.Settings{PublicURL: url}).IsLocal(); got != local {
			t.Errorf("%q: %t", url, got)
		}
	}
}
