package droppoint_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/internal/delivery/droppoint"
)

func TestAConfigurationNeverShowsItsPassword(t *testing.T) {
	t.Parallel()
	c, err := droppoint.Parse("mx", "smtp://me:s3cret@mx.example.com?auth=xoauth2")
	if err != nil || c.SMTP.Mechanism != "XOAUTH2" {
		t.Fatalf("%v, %v", c, err)
	}
	shown := []string{fmt.Sprintf("%v %+v %#v", c, &c, []droppoint.Config{c}),
		fmt.Sprintf("%v %+v %#v", *c.SMTP, c.SMTP, c.SMTP)}
	encoded, err := json.Marshal(map[string]any{"config": c})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(shown, string(encoded)) {
		if strings.Contains(s, "s3cret") {
			t.Errorf("shown: %s", s)
		}
	}
}

func TestParametersAreGivenOnceAndMakeSense(t *testing.T) {
	t.Parallel()
	for url, part := range map[string]string{
		"smtp://mx.example.com?connections=":                        `connections must be given once`,
		"smtp://mx.example.com?tls=none&tls=required":               `tls must be given once`,
		"smtp://mx.example.com:99999":                               "port",
		"smtps://mx.example.com?tls=none":                           "smtps://",
		"smtp://mx.example.com?auth=xoauth2":                        "auth",
		"smtp://me:s3cret@mx.example.com?auth=digest-md5":           "auth must be plain, login,",
		"smtp://mx.example.com?auth=plain":                          "auth must be",
		"smtp://mx.example.com?password_file=/s3cret":               "a user and a password",
		"smtp://me@mx.example.com":                                  "a user and a password",
		"smtp://me:s3cret@mx.example.com?password_file=/x":          "more than one password",
		"smtp://me@h?password_file=/s3cret&password_command=s3cret": "more than one password",
		"smtp://me:s3cret@mx.example.com?tls=none&servername=x":     "servername is for TLS",
		"smtp://me:s3cret@mx.example.com?servername=s3cret@x":       "servername must be a host name",
		"smtp://me:s3cret@mx.example.com?messages=-1":               "messages",
		"smtp://me:s3cret@mx.example.com?a%zz=s3cret":               "parameters",
		"smtp://me:s3cret@[::1":                                     "read",
		"dir://host/path":                                           "dir:/path",
		"smtp://me:s3cret@mx.example.com?pass\x00=s3cret1":          "read",
	} {
		_, err := droppoint.Parse("mx", url)
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v, want something with %s", url, err, part)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"smtp://h", "smtps://u:p@h:1?connections=2", "dir:/a", "dir:///a", "dir:a%20b",
		"smtp://[::1]:25?tls=none", "smtp://h?messages=0&hello=x", "://", "smtp://%00", "dir:%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if strings.Contains(url, "ca=") { // would read any file
			return
		}
		c, err := droppoint.Parse("mx", url)
		if err != nil {
			return
		}
		if c.Connections < 1 || c.Messages < 0 || (c.SMTP == nil) != (c.Dir != "") ||
			c.Dir != "" && !filepath.IsAbs(c.Dir) || strings.ContainsAny(c.Dir, "\x00") {
			t.Errorf("%q: %+v", url, c)
		}
		if c.SMTP != nil && strings.ContainsAny(c.SMTP.Hello+c.SMTP.Addr, "\r\n \x00") {
			t.Errorf("%q: %q, %q", url, c.SMTP.Addr, c.SMTP.Hello)
		}
	})
}
