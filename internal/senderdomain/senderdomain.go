// Package senderdomain checks the DNS records that receivers look up about a sender: the DKIM keys
// (RFC 6376), SPF (RFC 7208), DMARC (RFC 7489), the names of the sending addresses, and where
// bounces go. It tells a record that is missing from one that no server has told us about.
package senderdomain

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"directmailer/internal/content/lint"
	"directmailer/internal/foreign"
)

// timeout bounds all lookups together.
const timeout = 15 * time.Second

// Sender is who sends, as receivers see it.
type Sender struct {
	From     string // the domain of From
	Envelope string // the domain of the envelope sender, where bounces go
	Keys     []Key  // that sign the messages; none if they are not known
	// Addresses are the IP addresses that the mail comes from; none if they are not known.
	Addresses []netip.Addr
}

// Key is the public part of a key that signs messages.
type Key struct {
	Domain, Selector string
	Algorithm        string // "rsa" or "ed25519"
	// Public is the key as the DNS record has it before it is encoded. It is nil if it is not known:
	// then the record must only be there and be readable.
	Public []byte
}

// Check looks up the records of a sender and returns what is wrong with them, in the order of
// [lint.Rules]. It takes at most 15 seconds. After that, and where no server answers, the finding
// is [lint.DNSUnknown].
func Check(ctx context.Context, r *Resolver, s Sender) []lint.Finding {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := checker{ctx: ctx, resolver: r, sender: s}
	var all sync.WaitGroup
	for _, key := range s.Keys {
		all.Go(func() { c.key(key) })
	}
	all.Go(c.spf)
	all.Go(c.dmarc)
	all.Go(c.bounces)
	for _, ip := range s.Addresses {
		all.Go(func() { c.pointer(ip) })
	}
	all.Wait()
	lint.Sort(c.found)
	return c.found
}

type checker struct {
	ctx      context.Context
	resolver *Resolver
	sender   Sender

	mu    sync.Mutex
	found []lint.Finding
}

func (c *checker) add(code lint.Code, where, message string) {
	c.keep(lint.New(code, where, message))
}

func (c *checker) keep(f lint.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = append(c.found, f)
}

// failed reports a lookup without an answer. It returns false for a record that does not exist.
func (c *checker) failed(where string, err error) bool {
	var unknown *unknownError
	if errors.As(err, &unknown) {
		c.add(lint.DNSUnknown, where, "could not be looked up: "+unknown.reason)
		return true
	}
	return false
}

// bounces checks that the domain of the envelope sender takes mail.
func (c *checker) bounces() {
	domain, where := c.sender.Envelope, "MX "+c.sender.Envelope
	hosts, err := c.resolver.exchangers(c.ctx, domain)
	if c.failed(where, err) {
		return
	}
	if err == errNothing {
		hosts = []*net.MX{{Host: domain}} // RFC 5321, 5.1: the domain itself takes its mail
	}
	var unknown error
	for _, host := range hosts {
		if host.Host == "." {
			c.add(lint.MXMissing, where, "the domain says that it takes no mail")
			return
		}
		_, err := c.resolver.addresses(c.ctx, host.Host)
		if err == nil {
			return
		}
		if err != errNothing {
			unknown = err
		}
	}
	if !c.failed(where, unknown) {
		c.add(lint.MXMissing, where, "no server takes mail for the domain, so bounces are lost")
	}
}

// pointer checks that an address has a name that leads back to it.
func (c *checker) pointer(ip netip.Addr) {
	where := "PTR " + ip.String()
	names, err := c.resolver.names(c.ctx, ip.String())
	if c.failed(where, err) {
		return
	}
	if len(names) == 0 {
		c.add(lint.PTRMissing, where, "the address has no name")
		return
	}
	var unknown error
	for _, name := range names {
		back, err := c.resolver.addresses(c.ctx, name)
		if err != nil && err != errNothing {
			unknown = err
		}
		for _, each := range back {
			if other, ok := netip.AddrFromSlice(each); ok && other.Unmap() == ip.Unmap() {
				return
			}
		}
	}
	if !c.failed(where, unknown) {
		c.add(lint.PTRMissing, where, "the name "+foreign.Line(names[0])+" does not lead back to the address")
	}
}
