package droppoint_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/dev/smtptest"
)

const secretWord = "Zq8Kw3XpJv7Yb"

func write(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// changingServer accepts the password that is current at each log-in, by any mechanism.
func changingServer(t *testing.T) (s *smtptest.Server, current *atomic.Pointer[string]) {
	t.Helper()
	current = &atomic.Pointer[string]{}
	s = smtptest.Start(t, smtptest.Options{PasswordNow: func() string { return *current.Load() },
		Mechanisms: []string{"PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"}})
	return s, current
}

// A token that has ended is replaced in its file, or by the command that makes it.
func TestAPasswordIsReadAgainAtEachLogIn(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"plain", "login", "cram-md5", "xoauth2"} {
		for _, from := range []string{"password_file", "password_command"} {
			t.Run(mechanism+" "+from, func(t *testing.T) {
				t.Parallel()
				s, current := changingServer(t)
				file := write(t, "token", "", 0o600)
				value := file
				if from == "password_command" {
					value = "cat " + file
				}
				d := dropPoint(t, fmt.Sprintf("smtp://user@%s?tls=none&auth=%s&%s=%s", s.Addr(), mechanism, from,
					url.QueryEscape(value)))
				for n := range 3 {
					token := fmt.Sprint("token ", n) // with a blank, as tokens may have
					current.Store(&token)
					if err := os.WriteFile(file, []byte(token+"\r\n"), 0o600); err != nil {
						t.Fatal(err)
					}
					if h := d.Check(t.Context()); h.Err != nil {
						t.Fatalf("log-in %d: %v", n+1, h.Err)
					}
				}
			})
		}
	}
}

func TestAPasswordThatCannotBeReadIsToldWithoutIt(t *testing.T) {
	t.Parallel()
	s, current := changingServer(t)
	word := secretWord
	current.Store(&word)
	script := write(t, "fails", "#!/bin/sh\necho "+secretWord+"\necho "+secretWord+" >&2\nexit 3\n", 0o700)
	for value, says := range map[string]string{
		"password_file=/nowhere/" + secretWord:            "password_file cannot be read: no such file",
		"password_file=" + t.TempDir():                    "password_file cannot be read: is a directory",
		"password_file=" + write(t, "empty", "\n", 0o600): "password_file gives nothing",
		"password_file=" + write(t, "lines", secretWord+"\nx\n",
			0o600): "password_file gives more than one line",
		"password_file=" + write(t, "nul", secretWord+"\x00",
			0o600): "password_file gives more than one line",
		"password_file=" + write(t, "large", strings.Repeat("x", 1e5), 0o600): "password_file gives more than 64 KiB",
		"password_command=" + script:                                          "password_command failed: exit status 3",
		"password_command=" + secretWord:                                      "password_command cannot be run: executable",
		"password_command=/nowhere/" + secretWord:                             "password_command cannot be run: no such file",
		"password_command=" + write(t, "data", secretWord,
			0o600): "password_command cannot be run: permission denied",
		"password_command=true": "password_command gives nothing",
		"password_command=" + url.QueryEscape("echo a\nb; echo "+secretWord): "AUTH was refused: 535",
		"password_command=" + url.QueryEscape("yes "+secretWord):             "password_command gives more than",
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			d, err := droppoint.Parse("mx", fmt.Sprintf("smtp://user@%s?tls=none&auth=plain&%s", s.Addr(), value))
			if err != nil {
				t.Fatal(err)
			}
			set := droppoint.NewSet([]droppoint.Config{d})
			defer set.Close()
			point, _ := set.Get("mx")
			h := point.Check(t.Context())
			if h.Err == nil || !strings.Contains(h.Err.Error(), says) || strings.Contains(h.Err.Error(),
				secretWord[:4]) {
				t.Errorf("got %v, want %s", h.Err, says)
			}
		})
	}
}

func TestACertificateOfAnotherNameIsAcceptedByServername(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{STARTTLS: true, ServerName: "mail.example.com"})
	ca := write(t, "ca.pem", string(s.CertPEM()), 0o600)
	if h := dropPoint(t, "smtp://"+s.Addr()+"?tls=required&ca="+ca).Check(t.Context()); h.Err == nil {
		t.Error("a certificate of another name was accepted")
	}
	if h := dropPoint(t,
		"smtp://"+s.Addr()+"?tls=required&servername=mail.example.com&ca="+ca).Check(t.Context()); h.Err != nil {
		t.Error(h.Err)
	}
	if block, _ := pem.Decode(s.CertPEM()); block == nil {
		t.Error("no certificate")
	} else if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		t.Error(err)
	}
}

// A mechanism that the server offers and refuses is not tried again over the pool's connections.
func TestAReconnectRemembersTheMechanismThatWorked(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{STARTTLS: true, Password: "word", Mechanisms: []string{"CRAM-MD5",
		"PLAIN"},
		Script: func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "AUTH" && e.Mechanism == "CRAM-MD5" {
				return &smtptest.Action{Reply: "535 5.7.8 no"}
			}
			return nil
		}})
	ca := write(t, "ca.pem", string(s.CertPEM()), 0o600)
	d := dropPoint(t, "smtp://user:word@"+s.Addr()+"?ca="+ca)
	for range 3 {
		if h := d.Check(t.Context()); h.Err != nil {
			t.Fatal(h.Err)
		}
	}
	var cram int
	for _, line := range s.Commands() {
		if line == "AUTH CRAM-MD5" {
			cram++
		}
	}
	if cram != 1 {
		t.Errorf("CRAM-MD5 was tried %d times", cram)
	}
}
