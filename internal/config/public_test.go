package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"directmailer/internal/config"
)

const aKey = "0123456789abcdef0123456789abcdef"

// withPublic is the least environment of a worker, and more.
func withPublic(more map[string]string) map[string]string {
	all := map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25"}
	maps.Copy(all, more)
	return all
}

func TestThePublicURLIsHTTPSExceptOnLoopback(t *testing.T) {
	for given, want := range map[string]string{
		"":                               "",
		"https://mail.example.com":       "https://mail.example.com",
		"https://Mail.Example.com/":      "https://mail.example.com",
		"https://www.example.com/mail/":  "https://www.example.com/mail",
		"https://www.example.com:8443/m": "https://www.example.com:8443/m",
		"https://[2001:db8::1]:8443":     "https://[2001:db8::1]:8443",
		"http://127.0.0.1:8080":          "http://127.0.0.1:8080",
		"http://[::1]:8080":              "http://[::1]:8080",
		"http://localhost:8080":          "http://localhost:8080",
	} {
		environment(t, withPublic(map[string]string{"DM_PUBLIC_URL": given, "DM_TOKEN_KEYS": aKey}))
		w, err := config.LoadWorker()
		if err != nil || string(w.PublicURL) != want || w.Feedback().PublicURL != want {
			t.Errorf("%q: %q, %v", given, w.PublicURL, err)
		}
		if s, err := config.LoadStarter(); err != nil || s.Feedback().PublicURL != want {
			t.Errorf("a starter, %q: %q, %v", given, s.PublicURL, err)
		}
	}
}

func TestAPublicURLThatCannotBeUsedIsNamedWithWhatToDo(t *testing.T) {
	const form = "DM_PUBLIC_URL: it is not an address such as https://mail.example.com or " +
		"https://www.example.com/mail: a host in ASCII (xn--…), and a plain path at most"
	const https = "DM_PUBLIC_URL: it does not begin with https://: mail programs unsubscribe over https only. " +
		"Set it to https://…, where a proxy or the worker has a certificate (http:// is for 127.0.0.1 only)"
	for given, want := range map[string]string{
		"http://mail.example.com": https, "http://10.0.0.1": https, "http://localhost.example.com": https,
		"http://127.0.0.1.example.com": https, "ftp://mail.example.com": https, "//mail.example.com": https,
		"mail.example.com": form, "https://": form, "https://:443": form, "https:///path": form,
		"https://user:secret@mail.example.com": form, "https://mail.example.com?x=secret": form,
		"https://mail.example.com/?": form, "https://mail.example.com/#": form, "https://mail.example.com/a b": form,
		"https://mail.example.com/a//b": form, "https://mail.example.com/../b": form, "https://mail.example.com/%41": form,
		"https://mail.example.com/<x>": form, "https://bücher.example": form, "https://mail.example.com\r\nX: y": form,
		"https://mail.example.com/" + strings.Repeat("a", 200): form, "https://mail_.example>.com": form,
	} {
		environment(t, withPublic(map[string]string{"DM_PUBLIC_URL": given, "DM_TOKEN_KEYS": aKey}))
		_, err := config.LoadWorker()
		wantLines(t, err, want)
		_, err = config.LoadStarter()
		wantLines(t, err, want)
	}
}

func TestSettingsOfThePublicListenerNeedOneAnother(t *testing.T) {
	environment(t, withPublic(map[string]string{"DM_PUBLIC_URL": "https://mail.example.com"}))
	const noKeys = "DM_PUBLIC_URL is set without DM_TOKEN_KEYS: set DM_TOKEN_KEYS to the same keys on every worker, " +
		"for example to the output of `openssl rand -hex 32`"
	_, err := config.LoadWorker()
	wantLines(t, err, noKeys)
	_, err = config.LoadStarter()
	wantLines(t, err, noKeys)

	environment(t, withPublic(map[string]string{"DM_TOKEN_KEYS": aKey, "DM_PUBLIC_ADDRESS": ":8443"}))
	_, err = config.LoadWorker()
	wantLines(t, err, "DM_PUBLIC_ADDRESS is set without DM_PUBLIC_URL: set DM_PUBLIC_URL to the https address at "+
		"which recipients reach this listener")

	for _, wrong := range []string{"8443", "127.0.0.1", "127.0.0.1:", "::1:x:"} {
		environment(t, withPublic(map[string]string{"DM_PUBLIC_ADDRESS": wrong}))
		_, err = config.LoadWorker()
		wantLines(t, err, "DM_PUBLIC_ADDRESS: it is not an address such as 127.0.0.1:8443 or :8443")
	}
}

func TestProxiesAreAddressesAndNetworks(t *testing.T) {
	environment(t, withPublic(map[string]string{
		"DM_PUBLIC_PROXIES": "192.0.2.7 10.1.2.3/16\n2001:db8::7 ::ffff:192.0.2.8",
	}))
	w, err := config.LoadWorker()
	const want = "[192.0.2.7/32 10.1.0.0/16 2001:db8::7/128 192.0.2.8/32]"
	if got := fmt.Sprint(w.PublicProxies); err != nil || got != want {
		t.Errorf("the proxies are %s, want %s: %v", got, want, err)
	}
	environment(t, withPublic(map[string]string{"DM_PUBLIC_PROXIES": "192.0.2.7 proxy.example.com"}))
	_, err = config.LoadWorker()
	wantLines(t, err, "DM_PUBLIC_PROXIES: entry 2 is not an IP address or network such as 10.1.0.0/16")
}

func TestTokenKeysComeFromAFileAndAreNeverShown(t *testing.T) {
	environment(t, withPublic(map[string]string{"DM_TOKEN_KEYS_FILE": secretFile(t, aKey+"\n"+strings.Repeat("b", 40))}))
	w, err := config.LoadWorker()
	if err != nil || len(w.TokenKeys) != 2 {
		t.Fatalf("%d keys, %v", len(w.TokenKeys), err)
	}
	encoded, err := json.Marshal(w.TokenKeys)
	if want := `"2 token keys"`; err != nil || string(encoded) != want {
		t.Errorf("as JSON they are %s, %v", encoded, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, w.TokenKeys); got != "2 token keys" {
			t.Errorf("%s shows %s", verb, got)
		}
		if got := fmt.Sprintf(verb, w.Feedback().Keys); got != "2 token keys" {
			t.Errorf("%s shows %s", verb, got)
		}
	}
	environment(t, withPublic(map[string]string{"DM_TOKEN_KEYS": "short-secret " + aKey + " " + aKey}))
	_, err = config.LoadWorker()
	wantLines(t, err,
		"DM_TOKEN_KEYS: key 1 has 12 characters: a key has 32 or more, for example from `openssl rand -hex 32`",
		"DM_TOKEN_KEYS: key 3 is there twice")
	environment(t, withPublic(map[string]string{"DM_TOKEN_KEYS": " \n"}))
	_, err = config.LoadWorker()
	wantLines(t, err, "DM_TOKEN_KEYS: there is no key in it: make one with `openssl rand -hex 32`")
}
