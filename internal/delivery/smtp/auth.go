package smtp

import (
	"bytes"
	"encoding/base64"
	"slices"

	"github.com/wneessen/go-mail/smtp"
)

// login authenticates with the strongest mechanism that both sides know (RFC 4954).
func (c *Conn) login() error {
	if c.options.Username == "" {
		return nil
	}
	auth := c.mechanism()
	if auth == nil {
		return &ConnError{Phase: PhaseAuth, Cause: errNoAuth}
	}
	name, first, err := auth.Start(&smtp.ServerInfo{Name: c.options.ServerName, TLS: c.secure, Auth: c.ext.auth})
	if err != nil {
		return &ConnError{Phase: PhaseAuth, Cause: errNoAuth}
	}
	line := "AUTH " + name
	if first != nil {
		line += " " + base64.StdEncoding.EncodeToString(first)
	}
	for {
		c.out = append(append(c.out[:0], line...), crlf...)
		err := c.flush(PhaseAuth)
		clear(c.out) // it held the password
		if err != nil {
			return err
		}
		if err := c.read(PhaseAuth, c.options.Timeouts.Command); err != nil {
			return err
		}
		if c.in.code != 334 {
			return c.judge(PhaseAuth, 235)
		}
		challenge, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(c.in.lines))
		if err != nil {
			return c.broken(PhaseAuth, errReply)
		}
		// The library's errors quote the challenge: they are not passed on.
		response, err := auth.Next(challenge, true)
		if err != nil {
			return c.broken(PhaseAuth, errLogin)
		}
		line = base64.StdEncoding.EncodeToString(response)
	}
}

// mechanism chooses. Those that show the password, or the token, to whoever listens come last, and not in the clear.
func (c *Conn) mechanism() smtp.Auth {
	o := c.options
	offered := func(name string) bool { return slices.Contains(c.ext.auth, name) }
	private := c.secure || o.TLS == None
	switch {
	case o.XOAuth2:
		if private && offered("XOAUTH2") {
			return smtp.XOAuth2Auth(o.Username, o.Password)
		}
	case offered("SCRAM-SHA-256"):
		return smtp.ScramSHA256Auth(o.Username, o.Password)
	case offered("SCRAM-SHA-1"):
		return smtp.ScramSHA1Auth(o.Username, o.Password)
	case offered("CRAM-MD5"):
		return smtp.CRAMMD5Auth(o.Username, o.Password)
	case private && offered("PLAIN"):
		return smtp.PlainAuth("", o.Username, o.Password, o.ServerName, true)
	case private && offered("LOGIN"):
		return smtp.LoginAuth(o.Username, o.Password, o.ServerName, true)
	}
	return nil
}
