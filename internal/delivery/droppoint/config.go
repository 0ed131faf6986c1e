package droppoint

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/naming"
	"directmailer/internal/stoppable"
)

const (
	defaultConnections = 8
	maxConnections     = 1000
	defaultMessages    = 1000
)

// Config is a drop point's name and the content of its URL.
type Config struct {
	Name        string
	Connections int           // at most, from one worker
	Messages    int           // over one connection; 0 for no limit
	Idempotency string        // header field for a message's key; empty for none
	SMTP        *smtp.Options // nil for a drop directory
	Dir         string        // absolute path; empty for an SMTP server
}

// String describes the drop point without its credentials.
func (c Config) String() string {
	switch {
	case c.SMTP == nil:
		return "dir:" + c.Dir
	case c.SMTP.ImplicitTLS:
		return "smtps://" + c.SMTP.Addr
	}
	return "smtp://" + c.SMTP.Addr
}

// GoString returns the same as String, so that %#v does not show credentials.
func (c Config) GoString() string { return c.String() }

// MarshalText returns the same as String, so that logs and encoders do not show credentials.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Parse reads a drop point's URL. Its errors name the drop point and the problem. They quote
// nothing of the URL but the names of parameters.
func Parse(name, rawURL string) (Config, error) {
	if !naming.Valid(name) {
		return Config{}, errors.New("a drop point's name must be " + naming.Rule)
	}
	c, err := parse(rawURL)
	if err != nil {
		return Config{}, fmt.Errorf("drop point %s: %w", name, err)
	}
	c.Name = name
	return c, nil
}

func parse(rawURL string) (Config, error) {
	c := Config{Connections: defaultConnections, Messages: defaultMessages}
	u, err := url.Parse(rawURL)
	if err != nil {
		return c, errors.New("its URL cannot be read: write special characters of the password as %xx, " +
			"for example / as %2F")
	}
	p, err := newParams(u.RawQuery)
	if err != nil {
		return c, err
	}
	p.number("connections", &c.Connections, 1, maxConnections)
	switch u.Scheme {
	case "smtp", "smtps":
		p.number("messages", &c.Messages, 0, 1<<30)
		if c.SMTP, err = smtpOptions(u, p); err != nil {
			return c, err
		}
		c.Idempotency = p.headerField("idempotency")
	case "dir":
		if c.Dir, err = directoryOf(u); err != nil {
			return c, err
		}
		c.Messages = 0
	default:
		return c, errors.New("its URL must begin with dir:, smtp:// or smtps://")
	}
	return c, p.close()
}

func smtpOptions(u *url.URL, p *params) (*smtp.Options, error) {
	o := &smtp.Options{ImplicitTLS: u.Scheme == "smtps", Username: u.User.Username(), LogIns: &smtp.LogIns{}}
	if err := logIn(o, u, p); err != nil {
		return nil, err
	}
	var err error
	if o.Addr, err = smtpAddr(u); err != nil {
		return nil, err
	}
	if o.TLS, err = tlsPolicy(p, o); err != nil {
		return nil, err
	}
	if o.ServerName = p.host("servername"); o.ServerName != "" && o.TLS == smtp.None {
		p.fail("servername is for TLS, and tls is none")
	}
	o.NextBehindDot = p.boolean("next_behind_dot")
	o.Hello = p.host("hello")
	if file := p.take("ca"); file != "" {
		if o.RootCAs, err = readCAs(file); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// smtpAddr returns host:port, with the default port of the scheme.
func smtpAddr(u *url.URL) (string, error) {
	host, port := u.Hostname(), u.Port()
	if host == "" || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return "", errors.New("its URL must be smtp://user:password@host:port?parameters")
	}
	switch {
	case port == "" && u.Scheme == "smtps":
		port = "465"
	case port == "":
		port = "25"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("its port must be 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

// tlsPolicy reads the parameter tls. With a password, the default is required: the password must
// not go to an unknown server.
func tlsPolicy(p *params, o *smtp.Options) (smtp.TLSPolicy, error) {
	switch value := p.take("tls"); {
	case value != "" && o.ImplicitTLS:
		return 0, errors.New("tls is for smtp:// only: smtps:// is always encrypted")
	case value == "" && o.Username != "", value == "required":
		return smtp.Required, nil
	case value == "", value == "opportunistic":
		return smtp.Opportunistic, nil
	case value == "none":
		return smtp.None, nil
	}
	return 0, errors.New("tls must be opportunistic, required or none")
}

// maxCAs is the length limit of a file of certificates. That of a system has about 250 KiB.
const maxCAs = 4 << 20

func readCAs(file string) (*x509.CertPool, error) {
	pem, err := stoppable.ReadFile(file, maxCAs)
	if err != nil {
		return nil, fmt.Errorf("ca names a file that cannot be read: %w", reason(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca names a file that contains no certificate in PEM format")
	}
	return pool, nil
}

// reason returns the cause of an error about a file, without its path.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// directoryOf returns the absolute path of dir:/path, dir:///path or dir:relative.
func directoryOf(u *url.URL) (string, error) {
	dir := u.Path
	if u.Opaque != "" {
		unescaped, err := url.PathUnescape(u.Opaque)
		if err != nil {
			return "", errors.New("its path cannot be read: write % as %25")
		}
		dir = unescaped
	}
	if u.Host != "" || u.User != nil || dir == "" || strings.ContainsRune(dir, 0) {
		return "", errors.New("its URL must be dir:/path")
	}
	return filepath.Abs(dir)
}
