package senderdomain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"directmailer/internal/neterr"
)

const (
	queryTimeout = 2 * time.Second
	// rounds is how often each server is asked.
	rounds = 2
	// maxAliases is how many CNAME records in a row are followed.
	maxAliases = 8
)

// Resolver asks recursive DNS servers. It is safe for concurrent use.
type Resolver struct{ servers []string }

// NewResolver returns a Resolver that asks the server at an address: "127.0.0.1:53", "dns.example"
// or "[2001:db8::1]:53". The port is 53 if it is left out. With "system" it asks the servers of
// /etc/resolv.conf.
func NewResolver(address string) (*Resolver, error) {
	if address == "system" {
		c, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil || len(c.Servers) == 0 {
			return nil, errors.New("/etc/resolv.conf names no server: give a server as HOST:PORT")
		}
		r := &Resolver{}
		for _, server := range c.Servers {
			r.servers = append(r.servers, net.JoinHostPort(server, c.Port))
		}
		return r, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "53"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, " /@") {
		return nil, errors.New("it is neither HOST:PORT, such as 127.0.0.1:53, nor system")
	}
	return &Resolver{servers: []string{net.JoinHostPort(host, port)}}, nil
}

// errNothing says that the name or its records of this type do not exist.
var errNothing = errors.New("there is no such record")

// unknownError says that no server has given an answer.
type unknownError struct{ reason string }

func (e *unknownError) Error() string { return e.reason }

// query returns the records of a type. The error is errNothing or an [*unknownError]. It follows
// aliases.
func (r *Resolver) query(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	for range maxAliases {
		answer, err := r.ask(ctx, name, kind)
		if err != nil {
			return nil, err
		}
		var found []dns.RR
		alias := ""
		for _, each := range answer.Answer {
			if each.Header().Rrtype == kind {
				found = append(found, each)
			} else if c, ok := each.(*dns.CNAME); ok {
				alias = c.Target
			}
		}
		switch {
		case len(found) > 0:
			return found, nil
		case alias == "" || answer.Rcode == dns.RcodeNameError:
			return nil, errNothing
		}
		name = alias
	}
	return nil, &unknownError{"its aliases lead in a circle"}
}

// ask returns the first answer of a server.
func (r *Resolver) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	if _, ok := dns.IsDomainName(name); !ok {
		return nil, errNothing
	}
	reason := "no server was asked"
	for range rounds {
		for _, server := range r.servers {
			answer, err := exchange(ctx, server, name, kind)
			switch {
			case ctx.Err() != nil:
				return nil, &unknownError{"the time for all lookups is over"}
			case err != nil:
				reason = failure(err)
			case answer.Rcode == dns.RcodeSuccess, answer.Rcode == dns.RcodeNameError:
				return answer, nil
			default:
				reason = "the server answered " + dns.RcodeToString[answer.Rcode]
			}
		}
	}
	return nil, &unknownError{reason}
}

// exchange asks one server by UDP, and by TCP where the answer is cut off.
func exchange(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	question.SetEdns0(1232, false)
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, Timeout: queryTimeout}
		answer, _, err := client.ExchangeContext(ctx, question, server)
		if err != nil || !answer.Truncated {
			return answer, err
		}
	}
	return nil, errors.New("the answer is cut off")
}

// failure says why a server has not answered.
func failure(err error) string {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return "the server did not answer in time"
	}
	return "the server cannot be asked: " + neterr.Reason(err)
}

// texts returns the TXT records of a name, each with its strings joined.
func (r *Resolver) texts(ctx context.Context, name string) ([]string, error) {
	found, err := r.query(ctx, name, dns.TypeTXT)
	var all []string
	for _, each := range found {
		all = append(all, strings.Join(each.(*dns.TXT).Txt, ""))
	}
	return all, err
}

// exchangers returns the MX records of a domain.
func (r *Resolver) exchangers(ctx context.Context, domain string) (all []*net.MX, err error) {
	found, err := r.query(ctx, domain, dns.TypeMX)
	for _, each := range found {
		mx := each.(*dns.MX)
		all = append(all, &net.MX{Host: mx.Mx, Pref: mx.Preference})
	}
	return all, err
}

// addresses returns the IP addresses of a host.
func (r *Resolver) addresses(ctx context.Context, host string) (all []net.IP, err error) {
	var unknown error
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		found, err := r.query(ctx, host, kind)
		if err != nil && err != errNothing {
			unknown = err
		}
		for _, each := range found {
			switch each := each.(type) {
			case *dns.A:
				all = append(all, each.A)
			case *dns.AAAA:
				all = append(all, each.AAAA)
			}
		}
	}
	switch {
	case len(all) > 0:
		return all, nil
	case unknown != nil:
		return nil, unknown
	}
	return nil, errNothing
}

// names returns the names that an IP address has, without the dot at the end.
func (r *Resolver) names(ctx context.Context, ip string) (all []string, err error) {
	reverse, err := dns.ReverseAddr(ip)
	if err != nil {
		return nil, fmt.Errorf("reverse the address: %w", err)
	}
	found, err := r.query(ctx, reverse, dns.TypePTR)
	for _, each := range found {
		all = append(all, strings.TrimSuffix(each.(*dns.PTR).Ptr, "."))
	}
	return all, err
}

// forSPF lets package spf ask the resolver.
type forSPF struct{ *Resolver }

// LookupTXT is as that of [net.Resolver].
func (r forSPF) LookupTXT(ctx context.Context, name string) ([]string, error) {
	all, err := r.texts(ctx, name)
	return all, dnsError(name, err)
}

// LookupMX is as that of [net.Resolver].
func (r forSPF) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	all, err := r.exchangers(ctx, name)
	return all, dnsError(name, err)
}

// LookupIPAddr is as that of [net.Resolver].
func (r forSPF) LookupIPAddr(ctx context.Context, host string) (all []net.IPAddr, err error) {
	found, err := r.addresses(ctx, host)
	for _, ip := range found {
		all = append(all, net.IPAddr{IP: ip})
	}
	return all, dnsError(host, err)
}

// LookupAddr is as that of [net.Resolver].
func (r forSPF) LookupAddr(ctx context.Context, address string) ([]string, error) {
	all, err := r.names(ctx, address)
	return all, dnsError(address, err)
}

func dnsError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case err == errNothing:
		return &net.DNSError{Err: err.Error(), Name: name, IsNotFound: true}
	}
	return &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
}
