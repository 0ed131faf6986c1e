package droppoint_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

func TestEachParameterOfAURLIsTaken(t *testing.T) {
	t.Parallel()
	certificate := string(smtptest.Start(t, smtptest.Options{STARTTLS: true}).CertPEM())
	c, err := droppoint.Parse("mx", "smtp://user:word@[::1]?connections=1000&messages=0&tls=opportunistic"+
		"&hello=out.example.com&servername=mail.example.com&auth=login&idempotency=X-Key&next_behind_dot=true&ca="+
		url.QueryEscape(write(t, "ca.pem", certificate, 0o600)))
	if err != nil {
		t.Fatal(err)
	}
	s := c.SMTP
	if c.Name != "mx" || c.Connections != 1000 || c.Messages != 0 || c.Idempotency != "X-Key" || c.Dir != "" {
		t.Errorf("%+v", c)
	}
	if s.Addr != "[::1]:25" || s.TLS != smtp.Opportunistic || s.Hello != "out.example.com" || s.Mechanism != "LOGIN" ||
		s.ServerName != "mail.example.com" || !s.NextBehindDot || s.RootCAs == nil || s.Username != "user" ||
		s.Password != "word" || s.ImplicitTLS {
		t.Errorf("%s: %v, %s, %s, %s, %v", s.Addr, s.TLS, s.Hello, s.Mechanism, s.ServerName, s.NextBehindDot)
	}
}

func TestADropPointWithoutParametersHasSafeDefaults(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]smtp.TLSPolicy{
		"smtp://mx.example.com": smtp.Opportunistic, "smtp://mx.example.com?tls=none": smtp.None,
		"smtp://user:word@mx.example.com": smtp.Required, "smtp://user:word@mx.example.com?tls=none": smtp.None,
		"smtp://mx.example.com?tls=required": smtp.Required,
	} {
		c, err := droppoint.Parse("mx", url)
		if err != nil || c.SMTP.TLS != want || c.Connections != 8 || c.Messages != 1000 || c.SMTP.NextBehindDot ||
			c.Idempotency != "" {
			t.Errorf("%s: %+v, TLS %v, %v", url, c, c.SMTP.TLS, err)
		}
	}
	for url, want := range map[string]string{"dir:///a": "/a", "dir:/a%20b": "/a b", "dir:/a/../b": "/b"} {
		if c, err := droppoint.Parse("drop", url); err != nil || c.Dir != filepath.FromSlash(want) || c.SMTP != nil {
			t.Errorf("%s: %+v, %v", url, c, err)
		}
	}
	if _, err := droppoint.Parse("mx", "smtp://mx.example.com?connections=1001"); err == nil {
		t.Error("more than 1000 connections were taken")
	}
}

func TestAConnectionWithoutALimitOfMessagesIsUsedForAll(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	conn := acquire(t, dropPoint(t, "smtp://"+s.Addr()+"?messages=0&connections=1&next_behind_dot=true"))
	defer conn.Release()
	for n := range 3 {
		if err := deliver(t, conn, message(n), nil); err != nil || !conn.PipelinesNext() {
			t.Fatalf("message %d: %v; the next one is pipelined: %v", n, err, conn.PipelinesNext())
		}
	}
	if s.Connections() != 1 {
		t.Errorf("%d connections", s.Connections())
	}
}

// A worker that stops leaves no session behind: the server would count it for minutes.
func TestAConnectionThatIsReleasedAfterTheEndIsClosed(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c, err := droppoint.Parse("mx", "smtp://"+s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	set := droppoint.NewSet([]droppoint.Config{c})
	d, _ := set.Get("mx")
	conn, idle := acquire(t, d), acquire(t, d)
	idle.Release()
	set.Close()
	if err := deliver(t, conn, message(1), nil); err != nil {
		t.Errorf("a message in flight at the end: %v", err)
	}
	conn.Release()
	await(t, "both sessions are ended", func() bool {
		quits := 0
		for _, line := range s.Commands() {
			if line == "QUIT" {
				quits++
			}
		}
		return quits == 2
	})
}
