package smtp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail/smtp"
)

// strength lists the mechanisms for a password from the strongest to the weakest. The last two send
// the password itself.
var strength = []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"}

// maxIterations is how often a server may have us hash the password in SCRAM. A million takes about
// half a second, during which nothing can stop the log-in. RFC 7677 advises 15,000 or more.
const maxIterations = 1_000_000

// maxAuthSteps is how many challenges a mechanism may have. SCRAM has three.
const maxAuthSteps = 8

// authenticate logs in (RFC 4954). Without a user name it does nothing. Over TLS, after a permanent
// refusal of one mechanism, it tries the next one that the server offers: some servers offer
// mechanisms that they do not have passwords for.
func (c *Conn) authenticate(ctx context.Context) error {
	if c.options.Username == "" {
		return nil
	}
	names, err := c.mechanisms()
	if err != nil {
		return &ConnError{Phase: PhaseAuth, Cause: err}
	}
	password, err := c.password(ctx)
	if err != nil {
		return &ConnError{Phase: PhaseAuth, Cause: err}
	}
	names = c.options.LogIns.order(names)
	var refused error
	for i, name := range names {
		err := c.logIn(name, password)
		if err == nil {
			c.options.LogIns.worked(name)
			return nil
		}
		hideSecret(err, c.options.Username, password)
		if !isPermanent(err) {
			return afterRefusal(err, refused, names[:i])
		}
		c.options.LogIns.refused(name)
		refused = worse(refused, err)
		if !c.secure || c.lost.Load() || i == len(names)-1 {
			return tried(refused, names[:i+1])
		}
	}
	return refused
}

func (c *Conn) password(ctx context.Context) (string, error) {
	if c.options.ReadPassword == nil {
		return c.options.Password, nil
	}
	return c.options.ReadPassword(ctx)
}

// hideSecret removes the password, and what contains it, from the server's text of a refusal. Some
// servers repeat what they were told.
func hideSecret(err error, user, password string) {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return
	}
	encode := base64.StdEncoding.EncodeToString
	for _, secret := range []string{encode([]byte("\x00" + user + "\x00" + password)), encode([]byte(password)),
		password} {
		if secret != "" {
			refusal.Text = strings.ReplaceAll(refusal.Text, secret, "[password]")
		}
	}
}

// isPermanent reports whether the mechanism, and not the connection, has failed for good.
func isPermanent(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal) && refusal.Code >= 500 || errors.Is(err, errLogin)
}

// worse returns the error that says more. That is a refusal of the password (535), or else the
// later one.
func worse(first, second error) error {
	var refusal *Refusal
	if errors.As(first, &refusal) && refusal.Code == 535 {
		return first
	}
	return second
}

// tried adds the names of the mechanisms to the error of a refused log-in.
func tried(err error, names []string) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		refusal.Tried = slices.Clone(names)
		return refusal
	}
	return &ConnError{Phase: PhaseAuth, Cause: fmt.Errorf("%w (tried %s)", errLogin, strings.Join(names, ", "))}
}

// afterRefusal adds the refusal of other mechanisms, if there is one, to the error of a connection
// that the server has closed after it.
func afterRefusal(err, refused error, names []string) error {
	lost, ok := errors.AsType[*ConnError](err)
	if !ok || refused == nil || lost.Cause != errClosed {
		return err
	}
	return &ConnError{Phase: PhaseAuth, Cause: fmt.Errorf("%w after %v", errClosed, tried(refused, names))}
}

// mechanisms returns the mechanisms that the server offers and that can be used here, the strongest
// first. Those that send the password or the token itself are used only over TLS, or if TLS is
// None.
func (c *Conn) mechanisms() ([]string, error) {
	wanted := strength
	if c.options.Mechanism != "" {
		wanted = []string{c.options.Mechanism}
	}
	private := c.secure || c.options.TLS == None
	var names []string
	for _, name := range wanted {
		sendsSecret := name == "PLAIN" || name == "LOGIN" || name == "XOAUTH2"
		if slices.Contains(c.ext.auth, name) && (private || !sendsSecret) {
			names = append(names, name)
		}
	}
	switch {
	case len(names) > 0:
		return names, nil
	case c.options.Mechanism != "" && !slices.Contains(c.ext.auth, c.options.Mechanism):
		return nil, fmt.Errorf("%w: it does not offer %s", errNoAuth, c.options.Mechanism)
	}
	return nil, fmt.Errorf("%w: mechanisms that send the password itself need TLS", errNoAuth)
}

// logIn logs in with one mechanism.
func (c *Conn) logIn(name, password string) error {
	auth := c.newAuth(name, password)
	_, initial, err := auth.Start(&smtp.ServerInfo{Name: c.options.ServerName, TLS: c.secure, Auth: c.ext.auth})
	if err != nil {
		return &ConnError{Phase: PhaseAuth, Cause: errNoAuth}
	}
	line := "AUTH " + name
	if initial != nil {
		line += " " + base64.StdEncoding.EncodeToString(initial)
	}
	for step := range maxAuthSteps {
		if err := c.sayAuth(line); err != nil {
			return err
		}
		if c.reply.code != 334 {
			return c.checkCode(PhaseAuth, 2) // 235, but some servers say 250
		}
		response, err := answerTo(auth, name, initial, step, c.reply.lines)
		if err != nil {
			return c.cancelAuth()
		}
		line = base64.StdEncoding.EncodeToString(response)
	}
	return c.cancelAuth()
}

// sayAuth sends a line of a log-in and reads the reply.
func (c *Conn) sayAuth(line string) error {
	c.out = append(append(c.out[:0], line...), crlf...)
	err := c.write(PhaseAuth)
	clear(c.out) // it may contain the password
	if err != nil {
		return err
	}
	return c.read(PhaseAuth, c.options.Timeouts.Command)
}

// cancelAuth ends a mechanism whose server's part is not valid (RFC 4954, section 4).
func (c *Conn) cancelAuth() error {
	if err := c.sayAuth("*"); err != nil {
		return err
	}
	if c.reply.code < 500 {
		return c.fail(PhaseAuth, errLogin)
	}
	return &ConnError{Phase: PhaseAuth, Cause: errLogin}
}

func (c *Conn) newAuth(name, password string) smtp.Auth {
	user, server := c.options.Username, c.options.ServerName
	switch name {
	case "SCRAM-SHA-256":
		return smtp.ScramSHA256Auth(user, password)
	case "SCRAM-SHA-1":
		return smtp.ScramSHA1Auth(user, password)
	case "CRAM-MD5":
		return smtp.CRAMMD5Auth(user, password)
	case "XOAUTH2":
		return smtp.XOAuth2Auth(user, password)
	case "LOGIN":
		return smtp.LoginAuth(user, password, server, true)
	}
	return smtp.PlainAuth("", user, password, server, true)
}

// answerTo returns the response to a challenge. Some servers write challenges without encoding, or
// ask with any text, or none, for what the mechanism sends first. The error of the library may
// quote the challenge.
func answerTo(auth smtp.Auth, name string, initial []byte, step int, text []byte) ([]byte, error) {
	if step == 0 && name == "PLAIN" {
		return initial, nil
	}
	challenge := decodeChallenge(bytes.TrimSpace(text))
	if step == 0 && strings.HasPrefix(name, "SCRAM-") {
		challenge = nil
	}
	if strings.HasPrefix(name, "SCRAM-") && !affordable(challenge) {
		return nil, errLogin
	}
	return auth.Next(challenge, true)
}

// affordable reports whether a challenge of SCRAM (RFC 5802, section 7) asks for at most
// maxIterations, or for none.
func affordable(challenge []byte) bool {
	for field := range bytes.SplitSeq(challenge, []byte{','}) {
		if number, ok := bytes.CutPrefix(field, []byte("i=")); ok {
			n, err := strconv.Atoi(string(number))
			if err != nil || n > maxIterations {
				return false
			}
		}
	}
	return true
}

// decodeChallenge returns the challenge, or the text itself if it is not Base64.
func decodeChallenge(text []byte) []byte {
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
		if challenge, err := encoding.AppendDecode(nil, text); err == nil {
			return challenge
		}
	}
	return text
}
