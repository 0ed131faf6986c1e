package config_test

import (
	"fmt"
	"strings"
	"testing"

	"directmailer/internal/config"
)

func TestTheBounceDomainIsADomain(t *testing.T) {
	for given, want := range map[string]string{
		"": "", "bounce.example.com": "bounce.example.com", "Bounce.EXAMPLE.com": "bounce.example.com",
		"bücher.example": "xn--bcher-kva.example",
	} {
		environment(t, withPublic(map[string]string{"DM_BOUNCE_DOMAIN": given, "DM_TOKEN_KEYS": aKey}))
		w, err := config.LoadWorker()
		if err != nil || w.Feedback().BounceDomain != want {
			t.Errorf("%q: %q, %v", given, w.BounceDomain, err)
		}
		if s, err := config.LoadStarter(); err != nil || s.Feedback().BounceDomain != want {
			t.Errorf("a starter, %q: %q, %v", given, s.BounceDomain, err)
		}
	}
	for _, given := range []string{"bounce", "b@example.com", "https://example.com", "a b.example", "*.example.com",
		"192.0.2.1",
		"example.com.", strings.Repeat("a", 64) + ".example"} {
		environment(t, withPublic(map[string]string{"DM_BOUNCE_DOMAIN": given, "DM_TOKEN_KEYS": aKey}))
		_, err := config.LoadWorker()
		if want := "DM_BOUNCE_DOMAIN: it is not a domain such as bounce.example.com"; fmt.Sprint(err) != want {
			t.Errorf("%q: %v, want %s", given, err, want)
		}
	}
}

func TestWhatComesBackNeedsTokenKeys(t *testing.T) {
	for name, value := range map[string]string{
		"DM_BOUNCE_DOMAIN": "bounce.example.com", "DM_INBOUND_ADDRESS": "smtp://:2525",
		"DM_INBOUND_MAILBOX": "imaps://me:s3cret@mail.example.com/INBOX",
	} {
		environment(t, withPublic(map[string]string{name: value}))
		if _, err := config.LoadWorker(); err == nil || !strings.HasPrefix(err.Error(),
			name+" is set without DM_TOKEN_KEYS: ") {
			t.Errorf("%s: %v", name, err)
		}
		environment(t, withPublic(map[string]string{name: value, "DM_TOKEN_KEYS": aKey}))
		w, err := config.LoadWorker()
		if err != nil || strings.Contains(fmt.Sprintf("%v %+v %#v", w.InboundMailbox, w.InboundMailbox,
			w.InboundMailbox), "s3cret") {
			t.Errorf("%s: %+v, %v", name, w.InboundMailbox, err)
		}
	}
}

func TestASettingOfTheWayInThatCannotBeUsedIsNamed(t *testing.T) {
	for name, c := range map[string][2]string{
		"DM_INBOUND_ADDRESS": {"http://:80", "it does not begin with smtp:// or lmtp://"},
		"DM_INBOUND_MAILBOX": {"imaps://s3cret@mail.example.com/INBOX", "it has no user or no password"},
	} {
		environment(t, withPublic(map[string]string{name: c[0], "DM_TOKEN_KEYS": aKey}))
		_, err := config.LoadWorker()
		if err == nil || !strings.HasPrefix(err.Error(), name+": "+c[1]) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
