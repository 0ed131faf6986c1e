package smtp_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

// hosts are servers on several addresses of the loopback, with the same port.
type hosts struct {
	addrs   []netip.Addr
	port    string
	servers []*smtptest.Server // nil where nothing listens
}

// startHosts starts a server on 127.0.0.2, the next on 127.0.0.3, and so on. Where the options are
// nil, nothing listens.
func startHosts(t *testing.T, all ...*smtptest.Options) *hosts {
	t.Helper()
	h := &hosts{port: freePort(t)}
	for i, o := range all {
		addr := netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)})
		h.addrs = append(h.addrs, addr)
		if o == nil {
			h.servers = append(h.servers, nil)
			continue
		}
		o.Addr = net.JoinHostPort(addr.String(), h.port)
		h.servers = append(h.servers, smtptest.Start(t, *o))
	}
	return h
}

// freePort returns a port that is free on all addresses of the loopback.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := smtptest.Listen("0.0.0.0:0")
	if err != nil {
		t.Skip("no listener on several addresses of the loopback: ", err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// options are those of a client that looks the addresses up under the name mx.example. It tries the
// next address when one has failed, and never because a busy machine is slow.
func (h *hosts) options() smtp.Options {
	return smtp.Options{
		Addr: "mx.example:" + h.port, TLS: smtp.None, Hello: "test.example", Addresses: &smtp.Addresses{},
		NextAddressAfter: time.Hour,
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "mx.example" {
				return nil, errors.New("no such host")
			}
			return h.addrs, nil
		},
	}
}

func answering(phase, reply string) *smtptest.Options {
	return &smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase {
			return &smtptest.Action{Reply: reply}
		}
		return nil
	}}
}

func TestAnAddressThatGivesNoSessionDoesNotMatterWhileAnotherDoes(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]*smtptest.Options{
		"nothing listens":  nil,
		"421 at its start": answering("connect", "421 4.3.2 busy"),
		"554 at its start": answering("connect", "554 5.7.1 no"),
		"421 at EHLO":      answering("EHLO", "421 4.7.0 later"),
		"closes":           {Script: func(smtptest.Event) *smtptest.Action { return &smtptest.Action{Die: true} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHosts(t, bad, &smtptest.Options{}, bad)
			o := h.options()
			for range 3 {
				c, err := smtp.Dial(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				deliverOne(t, c)
				c.Close()
			}
			if got := len(h.servers[1].Received()); got != 3 {
				t.Errorf("the good address has got %d messages", got)
			}
			if bad != nil && h.servers[0].Connections() != 1 {
				t.Errorf("the bad address was tried %d times: it is known", h.servers[0].Connections())
			}
		})
	}
}

func deliverOne(t *testing.T, c *smtp.Conn) {
	t.Helper()
	m := &smtp.Message{From: "a@example.com", To: "b@example.org", Data: []byte("Subject: x\r\n\r\nhello\r\n")}
	if err := c.Begin(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(nil); err != nil {
		t.Fatal(err)
	}
}

// An address that greets everybody and takes no first message comes after the others from then on.
func TestAnAddressThatSaysNoAtTheFirstMessageComesLast(t *testing.T) {
	t.Parallel()
	h := startHosts(t, answering("MAIL", "421 4.3.2 busy"), &smtptest.Options{})
	o := h.options()
	c, err := smtp.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	m := &smtp.Message{From: "a@example.com", To: "b@example.org", Data: []byte("Subject: x\r\n\r\nhello\r\n")}
	if err := c.Begin(t.Context(), m); err == nil {
		t.Fatal("the first address takes messages")
	}
	c.Abort()
	if c, err = smtp.Dial(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	deliverOne(t, c)
	c.Close()
	if got := len(h.servers[1].Received()); got != 1 {
		t.Errorf("the other address has got %d messages", got)
	}
}

// The first address accepts connections and never greets. The next one is tried beside it.
func TestAnAddressThatTakesLongDoesNotKeepTheOthersWaiting(t *testing.T) {
	t.Parallel()
	silent := &smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		return &smtptest.Action{Wait: make(chan struct{})}
	}}
	h := startHosts(t, silent, &smtptest.Options{})
	o := h.options()
	o.NextAddressAfter = 20 * time.Millisecond
	c, err := smtp.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	deliverOne(t, c)
	c.Close()
}

func TestAServerWithoutAGoodAddressFailsWithAReason(t *testing.T) {
	t.Parallel()
	busy, no := answering("connect", "421 4.3.2 busy"), answering("connect", "554 5.7.1 no")
	copied := func(o *smtptest.Options) *smtptest.Options { other := *o; return &other }
	for name, c := range map[string]struct {
		first, second *smtptest.Options
		want          string
		class         smtp.Class
	}{
		"all busy":            {busy, copied(busy), "421", smtp.Connection},
		"one away, one busy":  {nil, copied(busy), "connect", smtp.Connection},
		"one refuses us, too": {no, nil, "connect", smtp.Connection},
		"all refuse us":       {copied(no), copied(no), "554", smtp.Refused},
	} {
		h := startHosts(t, c.first, c.second)
		_, err := smtp.Dial(t.Context(), h.options())
		if err == nil || !strings.Contains(err.Error(), c.want) || smtp.Classify(err) != c.class {
			t.Errorf("%s: %v, of class %v", name, err, smtp.Classify(err))
		}
	}
	o := startHosts(t).options()
	if _, err := smtp.Dial(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("a name without an address: %v", err)
	}
	o.Addr = "other.example:25"
	if _, err := smtp.Dial(t.Context(), o); err == nil || smtp.Classify(err) != smtp.Connection {
		t.Errorf("a name that is not known: %v", err)
	}
}

// A wrong password that is tried on each address locks the account.
func TestARefusedLogInIsNotTriedOnEachAddress(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	server := func() *smtptest.Options {
		return &smtptest.Options{Password: "right", Script: func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "AUTH" {
				tries.Add(1)
			}
			return nil
		}}
	}
	h := startHosts(t, server(), server(), server())
	o := h.options()
	o.Username, o.Password = "user", "wrong"
	if _, err := smtp.Dial(t.Context(), o); smtp.Classify(err) != smtp.Refused || tries.Load() != 1 {
		t.Errorf("%v, after %d tries", err, tries.Load())
	}
}

func TestTheEndOfTheContextEndsTheWaitForAnyAddress(t *testing.T) {
	t.Parallel()
	silent := func() *smtptest.Options {
		return &smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
			return &smtptest.Action{Wait: make(chan struct{})}
		}}
	}
	h := startHosts(t, silent(), silent())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for h.servers[0].Connections() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := smtp.Dial(ctx, h.options()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
