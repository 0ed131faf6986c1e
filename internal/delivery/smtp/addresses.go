package smtp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// nextAddressAfter is how long a session with one address of the server may take to open before
	// the next address is tried beside it.
	nextAddressAfter = 10 * time.Second
	// avoidedFor is how long an address that failed comes after the others.
	avoidedFor = 5 * time.Minute
)

// Addresses remembers which addresses of a server have failed, for all sessions with it. It is safe
// for concurrent use.
type Addresses struct {
	mu     sync.Mutex
	failed map[netip.Addr]time.Time
}

// order sorts addresses: those that have not failed for a while first, as the resolver gave them,
// then the others, the one that failed longest ago first.
func (a *Addresses) order(all []netip.Addr) []netip.Addr {
	if a == nil {
		return all
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	failed := func(addr netip.Addr) time.Time {
		if at := a.failed[addr]; time.Since(at) < avoidedFor {
			return at
		}
		return time.Time{}
	}
	ordered := slices.Clone(all)
	slices.SortStableFunc(ordered, func(x, y netip.Addr) int { return failed(x).Compare(failed(y)) })
	return ordered
}

// note records whether an address has failed.
func (a *Addresses) note(addr netip.Addr, failed bool) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !failed {
		delete(a.failed, addr)
		return
	}
	if a.failed == nil {
		a.failed = map[netip.Addr]time.Time{}
	}
	a.failed[addr] = time.Now()
}

// lookup returns the addresses of the server, the best first.
func (o *Options) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	find := o.Lookup
	if find == nil {
		find = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	limited, cancel := context.WithTimeout(ctx, o.Timeouts.Connect)
	defer cancel()
	all, err := find(limited, host)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, errTime
	case err == nil && len(all) == 0:
		return nil, errors.New("the server's name has no address")
	case err != nil:
		return nil, plainNet(err)
	}
	for i := range all {
		all[i] = all[i].Unmap()
	}
	return o.Addresses.order(all), nil
}

// opened is a session with one of the addresses, or why there is none.
type opened struct {
	conn *Conn
	addr netip.Addr
	err  error
}

// dialAny opens a session with the first address that gives one. The next address is tried when one
// has failed, or takes long. A refused log-in is not tried elsewhere: accounts get locked.
func dialAny(ctx context.Context, o Options, all []netip.Addr, port string) (*Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of the sessions that come too late
	results := make(chan opened)
	start := func(addr netip.Addr) {
		go func() {
			conn, err := dialOne(ctx, o, addr, net.JoinHostPort(addr.String(), port))
			select {
			case results <- opened{conn, addr, err}:
			case <-ctx.Done():
				if conn != nil {
					conn.Close()
				}
			}
		}()
	}
	start(all[0])
	started, ended := 1, 0
	var failed error
	for {
		next := time.NewTimer(orDefault(o.NextAddressAfter, nextAddressAfter))
		select {
		case r := <-results:
			next.Stop()
			o.Addresses.note(r.addr, r.err != nil && ctx.Err() == nil)
			if r.err == nil || ctx.Err() != nil || isLogin(r.err) {
				return r.conn, r.err
			}
			failed, ended = moreTelling(failed, r.err), ended+1
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return nil, &ConnError{Phase: PhaseConnect, Cause: ctx.Err()}
		}
		switch {
		case started < len(all):
			start(all[started])
			started++
		case ended == len(all):
			return nil, failed
		}
	}
}

// moreTelling returns the error that says more about the server as a whole: one that may pass
// counts more than a refusal of us by one address.
func moreTelling(a, b error) error {
	if a == nil || Classify(a) == Refused && Classify(b) != Refused {
		return b
	}
	return a
}

func isLogin(err error) bool {
	r, ok := errors.AsType[*Refusal](err)
	return ok && r.Phase == PhaseAuth && r.Code >= 500
}
