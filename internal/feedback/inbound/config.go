package inbound

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Config says where to listen, and how.
type Config struct {
	LMTP    bool
	Network string // tcp or unix
	Address string // host:port, or the path of a socket
	Hello   string // our name in the greeting
	// Cert and Key are files of a certificate for STARTTLS. Both are empty without it.
	Cert, Key string
}

const example = "for example smtp://:2525, lmtp://127.0.0.1:2424 or lmtp:///run/direct-mailer/lmtp.sock"

// Parse reads the URL of a listener: smtp://host:port, lmtp://host:port or lmtp:///path. Its
// parameters are hello=, cert= and key=.
func Parse(text string) (Config, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return Config{}, errors.New("it is not a URL: " + example)
	}
	c := Config{LMTP: u.Scheme == "lmtp", Network: "tcp", Address: u.Host, Hello: "localhost"}
	switch {
	case u.Scheme != "smtp" && u.Scheme != "lmtp":
		return Config{}, errors.New("it does not begin with smtp:// or lmtp://: " + example)
	case u.User != nil:
		return Config{}, errors.New("it has a user: nobody logs in at the listener")
	case c.LMTP && u.Host == "" && strings.HasPrefix(u.Path, "/") && u.Path != "/":
		c.Network, c.Address = "unix", u.Path
	case u.Path != "" && u.Path != "/":
		return Config{}, errors.New("it has a path: only lmtp:///path, without a host, names a socket")
	default:
		if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "" {
			return Config{}, errors.New("it has no port: " + example)
		}
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, errors.New("its parameters cannot be read: write a blank as %20")
	}
	for name, all := range values {
		value := all[0]
		if len(all) > 1 || value == "" {
			return Config{}, fmt.Errorf("the parameter %s must be there once, with a value", name)
		}
		switch name {
		case "hello":
			c.Hello = value
		case "cert":
			c.Cert = value
		case "key":
			c.Key = value
		default:
			return Config{}, fmt.Errorf("it has the unknown parameter %q: known are hello, cert and key", name)
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return Config{}, errors.New("only one of cert and key is there: STARTTLS needs both")
	}
	return c, nil
}

// UnmarshalText reads what [Parse] reads. Of an empty text it makes no listener.
func (c *Config) UnmarshalText(text []byte) (err error) {
	if *c = (Config{}); len(text) > 0 {
		if *c, err = Parse(string(text)); err != nil {
			err = errors.Join(err)
		}
	}
	return err
}

// IsSet reports whether there is to be a listener.
func (c Config) IsSet() bool { return c.Address != "" }

// tlsConfig reads the certificate. It returns nil without one.
func (c Config) tlsConfig() (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
