package smtptest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
)

type session struct {
	server    *Server
	number    int
	nc        net.Conn
	r         *bufio.Reader
	w         *bufio.Writer
	secure    bool
	message   int
	from      string
	params    string
	to        string
	opened    bool
	mechanism string // of the AUTH that is being answered
	raw       bool   // nothing ends the line of the next reply
	tooMany   bool
}

func (c *session) run() {
	o := c.server.options
	if c.tooMany {
		reply := o.TooMany
		if reply == "" {
			reply = "421 4.3.2 too many connections"
		}
		_, _ = io.WriteString(c.nc, reply+"\r\n")
		return
	}
	if o.ImplicitTLS {
		c.nc, c.secure = tls.Server(c.nc, c.server.tls), true
	}
	c.r, c.w = bufio.NewReader(c.nc), bufio.NewWriter(c.nc)
	if !c.answer("connect", "220 test ready") {
		return
	}
	for {
		if c.r.Buffered() == 0 || o.NoPipeline {
			if c.w.Flush() != nil {
				return
			}
		}
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if !o.Discard {
			c.server.mu.Lock()
			c.server.commands = append(c.server.commands, line)
			c.server.mu.Unlock()
		}
		if !c.command(line) {
			_ = c.w.Flush()
			return
		}
	}
}

// answer sends the usual reply, or that of the script, and reports whether the session goes on.
func (c *session) answer(phase, usual string) bool {
	reply, ok := c.decide(phase, usual)
	if !ok {
		return false
	}
	goesOn := c.say(reply)
	return (phase != "connect" || c.w.Flush() == nil) && goesOn // a 421 must arrive, too
}

func (c *session) decide(phase, usual string) (reply string, ok bool) {
	a := c.action(phase)
	switch {
	case a == nil:
		return usual, true
	case a.Raw != "":
		c.raw = true
		if a.Die {
			c.say(a.Raw)
			_ = c.w.Flush()
		}
		return a.Raw, !a.Die
	case a.Reply != "":
		return a.Reply, true
	}
	return usual, !a.Die
}

func (c *session) action(phase string) *Action {
	if c.server.options.Script == nil {
		return nil
	}
	a := c.server.options.Script(Event{Conn: c.number, Message: c.message, Phase: phase, Mechanism: c.mechanism,
		From: c.from, To: c.to})
	if a != nil && a.Wait != nil {
		_ = c.w.Flush()
		select {
		case <-a.Wait:
		case <-c.server.stopped:
		}
	}
	if a != nil && a.Die {
		_ = c.w.Flush()
	}
	return a
}

func (c *session) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		return c.answer("EHLO", c.ehlo())
	case "HELO":
		return c.answer("HELO", "250 test")
	case "STARTTLS":
		return c.startTLS()
	case "AUTH":
		return c.auth(rest)
	case "RSET":
		c.open(false)
		return c.answer("RSET", "250 2.0.0 ok")
	case "NOOP":
		return c.answer("NOOP", "250 2.0.0 ok")
	case "QUIT":
		c.answer("QUIT", "221 2.0.0 bye")
		return false
	case "MAIL":
		return c.mail(rest)
	case "RCPT":
		return c.rcpt(rest)
	case "DATA":
		return c.data()
	}
	return c.answer("unknown", "500 5.5.1 what?")
}

func (c *session) open(yes bool) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	switch {
	case yes && !c.opened:
		c.server.busy++
	case !yes && c.opened:
		c.server.busy--
	}
	c.opened = yes
}

func (c *session) say(reply string) bool {
	if !c.raw {
		reply += "\r\n"
	}
	c.raw = false
	_, err := io.WriteString(c.w, reply)
	return err == nil && !begins(reply, "421")
}
