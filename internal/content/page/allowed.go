package page

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"directmailer/internal/content/render"
)

// Allowed is the operator's list of page hosts that may have an address which is not public. The
// zero value allows none.
type Allowed struct {
	hosts    map[host]bool // names and single addresses
	networks []netip.Prefix
}

// UnmarshalText reads the entries of the list, separated by blanks or line breaks. It reports every
// entry that is wrong, by its position.
//
//	pages.internal, pages.internal:8080   the host of that name, whatever its address
//	10.1.2.3, 10.1.2.3:8080, [fd00::1]    the address, also of a host with another name
//	10.1.0.0/16, fd00::/8                 every address of the network, on every port
//
// A host without a port stands for the ports of http and https, 80 and 443.
func (a *Allowed) UnmarshalText(text []byte) error {
	*a = Allowed{hosts: map[host]bool{}}
	var problems []error
	for i, entry := range strings.Fields(string(text)) {
		if strings.Contains(entry, "/") {
			network, err := netip.ParsePrefix(entry)
			if err == nil && !network.Addr().Is4In6() {
				a.networks = append(a.networks, network.Masked())
				continue
			}
		} else {
			if bare, err := netip.ParseAddr(entry); err == nil && bare.Is6() {
				entry = "[" + entry + "]"
			}
			if h, err := parseHost(entry); err == nil {
				a.hosts[h.onWebPorts()] = true
				continue
			}
		}
		problems = append(problems, fmt.Errorf(
			"entry %d is not a host such as pages.example.com or 10.1.2.3:8080, nor a network such as 10.1.0.0/16",
			i+1,
		))
	}
	return errors.Join(problems...)
}

// onWebPorts is h with an empty port if its port is that of http or https.
func (h host) onWebPorts() host {
	if h.port == "80" || h.port == "443" {
		h.port = ""
	}
	return h
}

func (h host) String() string {
	switch {
	case h.port != "":
		return net.JoinHostPort(h.name, h.port)
	case strings.Contains(h.name, ":"):
		return "[" + h.name + "]"
	}
	return h.name
}

// guard decides which addresses may be dialled.
type guard struct {
	allowed Allowed
	public  *ssrf.Guardian // public addresses, and those of the allowed networks
}

func newGuard(allowed Allowed) *guard {
	var v4, v6 []netip.Prefix
	for _, network := range allowed.networks {
		if network.Addr().Is4() {
			v4 = append(v4, network)
		} else {
			v6 = append(v6, network)
		}
	}
	return &guard{allowed, ssrf.New(ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))}
}

// permits reports whether a page of h may be fetched from the address. A public address may be
// asked on any port: the mailing names it.
func (g *guard) permits(h host, at netip.Addr) bool {
	at = at.Unmap()
	return g.allowed.hosts[h] || g.allowed.hosts[host{at.String(), h.port}] || g.public.SafeAddr(at) == nil
}

// dialAttempt is one attempt to connect to a host, which may have several addresses.
type dialAttempt struct {
	host host

	mu        sync.Mutex
	refused   bool // some address was refused
	permitted bool // some address was not refused
}

// dialKey is the key of a *dialAttempt in the context of a dialler.
type dialKey struct{}

// control is the dialler's last step before it connects to an address, after it has looked up the
// name. So a name cannot have one address when it is checked and another one when it is dialled.
func (g *guard) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	d, ok := ctx.Value(dialKey{}).(*dialAttempt)
	at, err := netip.ParseAddrPort(address)
	if !ok || err != nil {
		return errNotPublic
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.permits(d.host, at.Addr()) {
		d.permitted = true
		return nil
	}
	d.refused = true
	return errNotPublic
}

// errNotPublic is the error for one address. A host may have others.
var errNotPublic = errors.New("the address is not public")

// refused is the error for a host none of whose addresses may be dialled. It tells the author of a
// mailing nothing about what is there: not the address of a name, and not whether a port is open.
type refused struct {
	host host
}

func (r *refused) Error() string {
	return fmt.Sprintf("%s is refused: its address is not public; the operator can allow it with DM_PAGE_HOSTS=%[1]s",
		r.host)
}

// dial connects to a host, at an address that the guard permits.
func (f *Fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if name, err = hostName(name); err != nil {
		return nil, err
	}
	d := &dialAttempt{host: host{name, port}.onWebPorts()}
	conn, err := f.dialer.DialContext(context.WithValue(ctx, dialKey{}, d), network, address)
	if err == nil {
		return conn, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refused && !d.permitted && ctx.Err() == nil {
		return nil, &refused{d.host}
	}
	return nil, err
}

// lookupTimeout bounds all lookups of one Check.
const lookupTimeout = 5 * time.Second

// Check returns a problem for each host of the locations that would be refused now. It looks up
// names, and connects to nothing. A name that cannot be looked up in time is no problem: the
// fetcher waits for name servers as it waits for page servers.
func (f *Fetcher) Check(ctx context.Context, s *Locations) []render.Problem {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var problems []render.Problem
	for i, h := range s.hosts {
		h = h.onWebPorts()
		if r := f.refuses(ctx, h); r != nil {
			p := render.Problem{Field: fmt.Sprintf("%s[%d]", fieldHosts, i), Message: r.Error()}
			if s.ownHost {
				p = render.Problem{Field: render.FieldPageURL, Line: 1, Column: 1, Message: r.Error()}
			}
			problems = append(problems, p)
		}
	}
	return problems
}

// refuses returns why no address of the host may be dialled; nil if one may, or if none is known.
func (f *Fetcher) refuses(ctx context.Context, h host) *refused {
	if f.guard.allowed.hosts[h] {
		return nil
	}
	resolver := f.dialer.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	found, err := resolver.LookupNetIP(ctx, "ip", h.name) // an address is its own answer
	if err != nil || len(found) == 0 {
		return nil
	}
	for _, at := range found {
		if f.guard.permits(h, at) {
			return nil
		}
	}
	return &refused{h}
}
