package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
)

// TokenKeys are the keys that sign the tokens of recipients.
type TokenKeys token.Keys

// UnmarshalText reads what [token.ParseKeys] reads.
func (k *TokenKeys) UnmarshalText(text []byte) error {
	keys, err := token.ParseKeys(string(text))
	*k = TokenKeys(keys)
	return err // joined: see eachOf
}

// Format writes the number of keys, and nothing of a key.
func (k TokenKeys) Format(f fmt.State, verb rune) { token.Keys(k).Format(f, verb) }

// MarshalText returns the number of keys, for logs.
func (k TokenKeys) MarshalText() ([]byte, error) { return token.Keys(k).MarshalText() }

// PublicURL is where recipients find the worker's public pages, without a slash at its end; empty
// if they do not.
type PublicURL string

// maxPublicURL leaves room for a token in a header line of 998 octets, and in what people print.
const maxPublicURL = 200

// publicPath is a path without anything that a proxy or a browser could change.
var publicPath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$`)

// UnmarshalText reads an https URL with a host and perhaps a path. For a loopback host, http will
// do.
func (p *PublicURL) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	u, err := url.Parse(string(text))
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery ||
		strings.Contains(string(text), "#") || !publicPath.MatchString(u.Path) || u.RawPath != "" ||
		!publicHost.MatchString(u.Host) || len(text) > maxPublicURL:
		return errors.Join(errors.New("it is not an address such as https://mail.example.com or " +
			"https://www.example.com/mail: a host in ASCII (xn--…), and a plain path at most"))
	case u.Scheme == "https", u.Scheme == "http" && feedback.IsLoopback(u.Hostname()):
	default:
		return errors.Join(errors.New("it does not begin with https://: mail programs unsubscribe over https only. " +
			"Set it to https://…, where a proxy or the worker has a certificate (http:// is for 127.0.0.1 only)"))
	}
	*p = PublicURL(strings.TrimRight(u.Scheme+"://"+strings.ToLower(u.Host)+u.Path, "/"))
	return nil
}

// publicHost is a host in ASCII, or an IP address, and perhaps a port.
var publicHost = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)

// ListenAddress is where a server listens: a port, with or without a host or IP address before it.
type ListenAddress string

// UnmarshalText reads host:port.
func (a *ListenAddress) UnmarshalText(text []byte) error {
	_, port, err := net.SplitHostPort(string(text))
	if len(text) > 0 && (err != nil || port == "") {
		return errors.Join(errors.New("it is not an address such as 127.0.0.1:8443 or :8443"))
	}
	*a = ListenAddress(text)
	return nil
}

// checkListener returns the problems of the variables of the public listener.
func (w Worker) checkListener() error {
	var problems []error
	if w.PublicAddress != "" && w.PublicURL == "" {
		problems = append(problems, errors.New("DM_PUBLIC_ADDRESS is set without DM_PUBLIC_URL: set DM_PUBLIC_URL to "+
			"the https address at which recipients reach this listener"))
	}
	if (w.PublicCert == "") != (w.PublicKey == "") {
		problems = append(problems, errors.New("DM_PUBLIC_CERT and DM_PUBLIC_KEY belong together: set both to files in "+
			"PEM, or neither behind a proxy"))
	}
	return errors.Join(problems...)
}

// Networks are networks of IP addresses.
type Networks []netip.Prefix

// UnmarshalText reads IP addresses and networks, separated by blanks or line breaks.
func (n *Networks) UnmarshalText(text []byte) error {
	var problems []error
	for i, field := range strings.Fields(string(text)) {
		network, err := netip.ParsePrefix(field)
		if address, other := netip.ParseAddr(field); other == nil {
			address = address.Unmap() // a peer's address is compared as IPv4
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("entry %d is not an IP address or network such as 10.1.0.0/16", i+1))
		}
		*n = append(*n, network.Masked())
	}
	return errors.Join(problems...)
}

// Feedback returns the settings for what comes back.
func (w Worker) Feedback() feedback.Settings {
	return feedback.Settings{
		Keys: token.Keys(w.TokenKeys), PublicURL: string(w.PublicURL), BounceDomain: string(w.BounceDomain),
	}
}

// Feedback returns the settings for what comes back.
func (s Starter) Feedback() feedback.Settings {
	return feedback.Settings{
		Keys: token.Keys(s.TokenKeys), PublicURL: string(s.PublicURL), BounceDomain: string(s.BounceDomain),
	}
}
