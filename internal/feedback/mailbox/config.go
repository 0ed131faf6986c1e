package mailbox

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"directmailer/internal/feedback"
	"directmailer/internal/stoppable"
)

// maxAuthorities is the size of the longest file of certificate authorities, in octets.
const maxAuthorities = 4 << 20

// Config says which mailbox is read, and how.
type Config struct {
	host, address  string // address is host:port
	user, password string
	folder         string
	security       security
	authorities    string // file of the authorities that are trusted; empty: those of the system
}

type security int

const (
	wholeTLS security = iota // from the first octet
	startTLS                 // after a command
	noTLS                    // on the loopback only
)

const example = "for example imaps://user:password@mail.example.com/INBOX"

// Parse reads the URL of a mailbox: imaps://user:password@host/FOLDER, or imap:// for STARTTLS. Its
// errors quote nothing of the URL, because any piece of it may belong to the password.
func Parse(text string) (Config, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(text, "#") {
		return Config{}, errors.New("it is not a URL: write special characters of the password as %xx, " + example)
	}
	c := Config{host: u.Hostname(), folder: strings.TrimPrefix(u.Path, "/")}
	port := u.Port()
	switch u.Scheme {
	case "imaps":
		port = orElse(port, "993")
	case "imap":
		c.security, port = startTLS, orElse(port, "143")
	default:
		return Config{}, errors.New("it does not begin with imaps:// or imap://: " + example)
	}
	c.address = net.JoinHostPort(c.host, port)
	c.user = u.User.Username()
	c.password, _ = u.User.Password()
	switch {
	case c.host == "":
		return Config{}, errors.New("it names no host: " + example)
	case c.user == "" || c.password == "":
		return Config{}, errors.New("it has no user or no password: " + example)
	case c.folder == "":
		return Config{}, errors.New("it names no folder: " + example)
	}
	return c, c.parseParameters(u.RawQuery)
}

func orElse(value, other string) string {
	if value == "" {
		return other
	}
	return value
}

func (c *Config) parseParameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("its parameters cannot be read: write a blank as %20")
	}
	for name, all := range values {
		switch {
		case len(all) > 1 || all[0] == "":
			return errors.New("a parameter must be there once, with a value")
		case name == "ca":
			c.authorities = all[0]
		case name == "tls" && all[0] == "none" && c.security == startTLS && feedback.IsLoopback(c.host):
			c.security = noTLS
		case name == "tls":
			return errors.New("tls=none is for imap:// on the loopback only: the password would be readable on the way")
		default:
			return errors.New("it has an unknown parameter: known are ca and tls")
		}
	}
	return nil
}

// UnmarshalText reads what [Parse] reads. Of an empty text it makes no mailbox.
func (c *Config) UnmarshalText(text []byte) (err error) {
	if *c = (Config{}); len(text) > 0 {
		if *c, err = Parse(string(text)); err != nil {
			err = errors.Join(err)
		}
	}
	return err
}

// IsSet reports whether there is a mailbox.
func (c Config) IsSet() bool { return c.host != "" }

// String names the server, without user and password.
func (c Config) String() string { return c.address }

// GoString is String: a configuration is never printed with its credentials.
func (c Config) GoString() string { return c.String() }

// MarshalText is String, for logs.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// name is the name of the mailbox in the database. It holds no address.
func (c Config) name() string {
	sum := sha256.Sum256([]byte(c.address + "\x00" + c.user + "\x00" + c.folder))
	return hex.EncodeToString(sum[:16])
}

// pool returns the authorities that are trusted; nil for those of the system.
func (c Config) pool() (*x509.CertPool, error) {
	if c.authorities == "" {
		return nil, nil
	}
	text, err := stoppable.ReadFile(c.authorities, maxAuthorities)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = errors.New("there is no certificate in it")
	}
	if err != nil {
		return nil, fmt.Errorf("read the certificate authorities: %w", err)
	}
	return pool, nil
}
