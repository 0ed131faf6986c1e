package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// extensions are those that the server has listed in its last reply to EHLO.
type extensions struct {
	pipelining, eightBit, utf8, startTLS bool
	sizeKnown                            bool
	size                                 int64    // limit of a message; 0 for none, or an unknown one
	auth                                 []string // mechanisms in upper case
}

// openSession takes a new connection from the greeting to the log-in.
func (c *Conn) openSession(ctx context.Context) error {
	if c.options.ImplicitTLS {
		if err := c.handshakeTLS(ctx); err != nil {
			return err
		}
	}
	c.options.begins(PhaseGreeting)
	if err := c.expect(PhaseGreeting, c.options.Timeouts.Greeting, 220); err != nil {
		return err
	}
	if err := c.sayHello(); err != nil {
		return err
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	return c.authenticate(ctx)
}

// sayHello sends EHLO, or HELO to a server that does not know EHLO, and reads the extensions.
func (c *Conn) sayHello() error {
	c.options.begins(PhaseHello)
	c.ext = extensions{}
	err := c.command(PhaseHello, "EHLO "+c.options.Hello, 250)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Code >= 500 {
		err := c.command(PhaseHello, "HELO "+c.options.Hello, 250)
		if lost, ok := errors.AsType[*ConnError](err); ok && lost.Cause == errClosed {
			return refusal // it says why the server has closed the connection
		}
		return err
	}
	if err == nil {
		c.ext = readExtensions(c.reply.lines)
	}
	return err
}

// readExtensions reads the lines of a reply to EHLO. The first is the server's name.
func readExtensions(lines []byte) (ext extensions) {
	_, lines, _ = bytes.Cut(lines, []byte{'\n'})
	for line := range strings.Lines(string(lines)) {
		words := strings.Fields(strings.ToUpper(line))
		if len(words) == 0 {
			continue
		}
		keyword, values := words[0], words[1:]
		// Some servers still write AUTH=, as was usual before RFC 2554.
		if after, ok := strings.CutPrefix(keyword, "AUTH="); ok {
			keyword, values = "AUTH", append([]string{after}, values...)
		}
		ext.add(keyword, values)
	}
	slices.Sort(ext.auth)
	ext.auth = slices.Compact(ext.auth)
	return ext
}

func (e *extensions) add(keyword string, values []string) {
	switch keyword {
	case "PIPELINING":
		e.pipelining = true
	case "8BITMIME":
		e.eightBit = true
	case "SMTPUTF8":
		e.utf8 = true
	case "STARTTLS":
		e.startTLS = true
	case "AUTH":
		e.auth = append(e.auth, values...)
	case "SIZE":
		e.sizeKnown = true
		if len(values) > 0 {
			if n, err := strconv.ParseInt(values[0], 10, 64); err == nil && n > 0 {
				e.size = n
			}
		}
	}
}

// startTLS encrypts the connection as the policy says (RFC 3207).
func (c *Conn) startTLS(ctx context.Context) error {
	if c.secure || c.options.TLS == None {
		return nil
	}
	if !c.ext.startTLS {
		if c.options.TLS == Required {
			return &ConnError{Phase: PhaseStartTLS, Cause: errNoTLS}
		}
		return nil
	}
	c.options.begins(PhaseStartTLS)
	if err := c.command(PhaseStartTLS, "STARTTLS", 220); err != nil {
		return err
	}
	// In TLS the client speaks first. What is there already was sent without encryption, perhaps by
	// an attacker who wants it to be taken for a reply inside TLS.
	if c.r.Buffered() > 0 {
		return &ConnError{Phase: PhaseStartTLS, Cause: errEarly}
	}
	if err := c.handshakeTLS(ctx); err != nil {
		return err
	}
	return c.sayHello()
}

func (c *Conn) handshakeTLS(ctx context.Context) error {
	c.options.begins(PhaseTLS)
	limited, cancel := context.WithTimeout(ctx, c.options.Timeouts.Command)
	defer cancel()
	config := &tls.Config{ServerName: c.options.ServerName, RootCAs: c.options.RootCAs, MinVersion: tls.VersionTLS12}
	t := tls.Client(c.socket, config)
	if err := t.HandshakeContext(limited); err != nil {
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case limited.Err() != nil:
			err = errTime
		}
		return &ConnError{Phase: PhaseTLS, Cause: plainTLS(err)}
	}
	c.nc, c.secure = t, true
	c.r.Reset(t)
	return nil
}

// helloName returns this host's name if it has a domain, or else our IP address as a literal (RFC
// 5321, section 4.1.4).
func helloName(local net.Addr) string {
	name, err := os.Hostname()
	if err == nil && strings.Contains(name, ".") && !strings.ContainsFunc(name, notInHostName) {
		return name
	}
	if tcp, ok := local.(*net.TCPAddr); ok {
		if v4 := tcp.IP.To4(); v4 != nil {
			return "[" + v4.String() + "]"
		}
		return "[IPv6:" + tcp.IP.String() + "]"
	}
	return "[127.0.0.1]"
}

func notInHostName(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.':
		return false
	}
	return true
}
