package droppoint

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"directmailer/internal/delivery/smtp"
)

const (
	defaultConnections = 8
	maxConnections     = 1000
	defaultMessages    = 1000
)

// Config is a drop point's name and what its URL says.
type Config struct {
	Name        string
	Connections int // at most, from one worker
	Messages    int // over one connection; 0 for no limit
	// Idempotency is the name of the header field that holds a message's key; empty for none.
	Idempotency string
	SMTP        *smtp.Options
	Dir         string
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

// GoString is String: a configuration is never shown with its credentials.
func (c Config) GoString() string { return c.String() }

// MarshalText is String, for whatever logs or encodes a configuration.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

var namePattern = regexp.MustCompile(`^[a-z0-9]+([_-]?[a-z0-9])*$`)

// Parse reads a drop point's URL. Its errors name the drop point and what is wrong, and quote nothing of the URL but parameter names.
func Parse(name, rawURL string) (Config, error) {
	c := Config{Name: name, Connections: defaultConnections, Messages: defaultMessages}
	bad := func(format string, args ...any) (Config, error) {
		return Config{}, fmt.Errorf("drop point %s: "+format, append([]any{name}, args...)...)
	}
	if !namePattern.MatchString(name) || len(name) > 63 {
		return Config{}, errors.New("a drop point's name must be up to 63 lower-case letters and digits, with single - or _ between them")
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return bad("its URL cannot be read (are marks in the password written as %%xx?)")
	}
	p := params{url.Values{}, nil}
	if p.values, err = url.ParseQuery(u.RawQuery); err != nil {
		return bad("the parameters of its URL cannot be read")
	}
	for parameter, values := range p.values {
		if len(values) > 1 || values[0] == "" {
			return bad("%s must be given once, with a value", strconv.Quote(parameter))
		}
	}
	p.number("connections", &c.Connections, 1, maxConnections)
	switch u.Scheme {
	case "smtp", "smtps":
		p.number("messages", &c.Messages, 0, 1<<30)
		if c.SMTP, err = smtpOptions(u, &p); err != nil {
			return bad("%w", err)
		}
		if c.Idempotency, err = p.header("idempotency"); err != nil {
			return bad("%w", err)
		}
	case "dir":
		if c.Dir, err = dirOf(u); err != nil {
			return bad("%w", err)
		}
		c.Messages = 0
	default:
		return bad("its URL must begin with smtp://, smtps:// or dir:")
	}
	if err := p.rest(); err != nil {
		return bad("%w", err)
	}
	return c, nil
}

func smtpOptions(u *url.URL, p *params) (*smtp.Options, error) {
	o := &smtp.Options{ImplicitTLS: u.Scheme == "smtps", Username: u.User.Username()}
	o.Password, _ = u.User.Password()
	if (o.Username == "") != (o.Password == "") {
		return nil, errors.New("user and password go together")
	}
	host, port := u.Hostname(), u.Port()
	if host == "" || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return nil, errors.New("its URL must be smtp://user:password@host:port?parameters")
	}
	if port == "" {
		port = map[bool]string{true: "465", false: "25"}[o.ImplicitTLS]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, errors.New("its port must be 1 to 65535")
	}
	o.Addr = net.JoinHostPort(host, port)
	tlsGiven := p.values.Has("tls")
	tls, err := p.choice("tls", map[string]smtp.TLSPolicy{"opportunistic": smtp.Opportunistic, "required": smtp.Required, "none": smtp.None})
	if err != nil {
		return nil, err
	}
	o.TLS = tls
	if o.ImplicitTLS && tlsGiven {
		return nil, errors.New("tls goes with smtp:// only: smtps:// is always encrypted")
	}
	if o.Username != "" && !tlsGiven {
		o.TLS = smtp.Required // a password is not given to whoever answers
	}
	switch auth := p.take("auth"); {
	case auth == "xoauth2" && o.Username != "":
		o.XOAuth2 = true
	case auth != "":
		return nil, errors.New("auth must be xoauth2, with an access token for a password, or be left out")
	}
	if o.NextBehindDot, err = p.boolean("next_behind_dot"); err != nil {
		return nil, err
	}
	o.Hello = p.take("hello")
	if strings.ContainsFunc(o.Hello, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("hello must be a host name")
	}
	if ca := p.take("ca"); ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		o.RootCAs = x509.NewCertPool()
		if !o.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate in PEM", ca)
		}
	}
	return o, nil
}

// dirOf takes the folder from dir:/path, dir:///path or dir:relative.
func dirOf(u *url.URL) (string, error) {
	dir := u.Path
	if u.Opaque != "" {
		unescaped, err := url.PathUnescape(u.Opaque)
		if err != nil {
			return "", errors.New("its path cannot be read")
		}
		dir = unescaped
	}
	if u.Host != "" || u.User != nil || dir == "" || strings.ContainsRune(dir, 0) {
		return "", errors.New("its URL must be dir:/path")
	}
	return filepath.Abs(dir)
}

// params takes parameters one by one; what is left over is unknown.
type params struct {
	values url.Values
	err    error
}

func (p *params) take(name string) string {
	v := p.values.Get(name)
	delete(p.values, name)
	return v
}

func (p *params) number(name string, into *int, least, most int) {
	v := p.take(name)
	if v == "" {
		return
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		p.err = errors.Join(p.err, fmt.Errorf("%s must be %d to %d", name, least, most))
		return
	}
	*into = n
}

// fieldName is a name that a header field of ours may have besides those that messages have.
var fieldName = regexp.MustCompile(`^(?i:x-[a-z0-9-]{1,60}|[a-z0-9-]{0,40}idempotency[a-z0-9-]{0,40})$`)

func (p *params) header(name string) (string, error) {
	v := p.take(name)
	if v != "" && !fieldName.MatchString(v) {
		return "", fmt.Errorf("%s must be the name of a header field: X-something, or one with Idempotency in it", name)
	}
	return v, nil
}

func (p *params) boolean(name string) (bool, error) {
	v := p.take(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%s must be true or false", name)
	}
	return b, nil
}

func (p *params) choice(name string, choices map[string]smtp.TLSPolicy) (smtp.TLSPolicy, error) {
	v := p.take(name)
	if v == "" {
		return smtp.Opportunistic, nil
	}
	c, ok := choices[v]
	if !ok {
		return 0, fmt.Errorf("%s must be opportunistic, required or none", name)
	}
	return c, nil
}

func (p *params) rest() error {
	var unknown []string
	for name := range p.values {
		unknown = append(unknown, strconv.Quote(name))
	}
	slices.Sort(unknown)
	if len(unknown) > 0 {
		p.err = errors.Join(p.err, fmt.Errorf("unknown parameter %s", strings.Join(unknown, ", ")))
	}
	return p.err
}
