package smtp_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"directmailer/internal/delivery/smtp"
)

// peer is a server that a test plays line by line, to send what no ordinary server sends.
type peer struct {
	nc net.Conn
	r  *bufio.Reader
}

// play starts a peer that answers EHLO with the extensions and then runs session. wait returns when
// the session has ended.
func play(t *testing.T, extensions []string, session func(p *peer)) (addr string, wait func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		p := &peer{nc, bufio.NewReader(nc)}
		p.writeLines("220 peer")
		p.readLine()
		for _, e := range extensions {
			p.writeLines("250-" + e)
		}
		p.writeLines("250 ENHANCEDSTATUSCODES")
		session(p)
	}()
	return listener.Addr().String(), func() { <-done }
}

func (p *peer) writeLines(lines ...string) {
	_, _ = io.WriteString(p.nc, strings.Join(lines, "\r\n")+"\r\n")
}

func (p *peer) readLine() string {
	line, _ := p.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n")
}

// readAll returns everything the client sends before it closes the connection.
func (p *peer) readAll() string {
	rest, _ := io.ReadAll(p.r)
	return string(rest)
}

var pipelining = []string{"peer", "PIPELINING"}

func dialPeer(t *testing.T, addr string, o smtp.Options) *smtp.Conn {
	t.Helper()
	o.Addr = addr
	c, err := smtp.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}
