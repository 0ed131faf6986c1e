package unsubscribe

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"directmailer/internal/feedback"
	"directmailer/internal/fifo"
)

// The limits of requests. A mailbox provider sends the one-click requests of many people from a few
// addresses, so those of one client are generous. The limits of all clients together bound what a
// flood costs this machine.
const (
	clientRate  = 100 // requests a second
	clientBurst = 1000
	totalRate   = 500
	totalBurst  = 1000
	maxClients  = 16 << 10 // remembered; the oldest are forgotten
)

// limits decides who is answered.
type limits struct {
	proxies []netip.Prefix
	total   *rate.Limiter
	clients *fifo.Cache[netip.Prefix, *rate.Limiter]
	now     func() time.Time
}

func newLimits(proxies []netip.Prefix) *limits {
	return &limits{
		proxies: proxies, total: rate.NewLimiter(totalRate, totalBurst),
		clients: fifo.New[netip.Prefix](maxClients, fifo.One[*rate.Limiter]), now: time.Now,
	}
}

// allow returns the status of a request that is over a limit, or 0. The client's own limit comes
// first, so that one client alone does not use up the limit of all.
func (l *limits) allow(r *http.Request) int {
	client := feedback.ClientOf(l.client(r))
	now := l.now()
	limiter := l.clients.GetOrAdd(client, func() *rate.Limiter { return rate.NewLimiter(clientRate, clientBurst) })
	switch {
	case !limiter.AllowN(now, 1):
		return http.StatusTooManyRequests
	case !l.total.AllowN(now, 1):
		return http.StatusServiceUnavailable
	}
	return 0
}

// client returns the address that a request comes from: the peer, or the last address of
// X-Forwarded-For that is not a trusted proxy's, if the peer is one.
func (l *limits) client(r *http.Request) netip.Addr {
	peer := addressOf(r.RemoteAddr)
	if !contains(l.proxies, peer) {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		address := addressOf(strings.TrimSpace(hop))
		if !address.IsValid() {
			break // nobody but a proxy of ours may say more
		}
		if peer = address; !contains(l.proxies, address) {
			break
		}
	}
	return peer
}

// addressOf reads an IP address with or without a port; the zero value if it is none.
func addressOf(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	address, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

func contains(networks []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(address) })
}
