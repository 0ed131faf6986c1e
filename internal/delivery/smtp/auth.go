package smtp

import (
	"bytes"
	"encoding/base64"
	"slices"

	"github.com/wneessen/go-mail/smtp"
)

// authenticate logs in with the strongest mechanism that both sides support (RFC 4954). Without a
// user name it does nothing.
func (c *Conn) authenticate() error {
	if c.options.Username == "" {
		return nil
	}
	c.options.begins(PhaseAuth)
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
		err := c.write(PhaseAuth)
		clear(c.out) // it may contain the password
		if err != nil {
			return err
		}
		if err := c.read(PhaseAuth, c.options.Timeouts.Command); err != nil {
			return err
		}
		if c.reply.code != 334 {
			return c.checkCode(PhaseAuth, 235)
		}
		challenge, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(c.reply.lines))
		if err != nil {
			return c.fail(PhaseAuth, errReply)
		}
		// The error of the library quotes the challenge, so it is not passed on.
		response, err := auth.Next(challenge, true)
		if err != nil {
			return c.fail(PhaseAuth, errLogin)
		}
		line = base64.StdEncoding.EncodeToString(response)
	}
}

// mechanism chooses the strongest mechanism that the server offers, or nil. Mechanisms that send
// the password or the token itself come last. They are used only over TLS, or if TLS is None.
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
