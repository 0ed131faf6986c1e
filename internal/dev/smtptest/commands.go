package smtptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"strings"
	"time"
)

func (c *session) ehlo() string {
	lines := []string{"test"}
	o := c.server.options
	if !o.NoPipeline {
		lines = append(lines, "Pipelining") // keywords are case-insensitive
	}
	if o.STARTTLS && !c.secure {
		lines = append(lines, "STARTTLS")
	}
	if (o.Password != "" || o.PasswordNow != nil) && (c.secure || !o.STARTTLS) {
		lines = append(lines, "AUTH "+strings.Join(c.server.mechanisms(), " "))
	}
	lines = append(lines, o.Extensions...)
	lines = append(lines, "ENHANCEDSTATUSCODES")
	for i, l := range lines {
		if i < len(lines)-1 {
			lines[i] = "250-" + l
		} else {
			lines[i] = "250 " + l
		}
	}
	return strings.Join(lines, "\r\n")
}

func (c *session) startTLS() bool {
	if !c.answer("STARTTLS", "220 2.0.0 go on") || c.w.Flush() != nil {
		return false
	}
	c.nc, c.secure = tls.Server(c.nc, c.server.tls), true
	c.r, c.w = bufio.NewReader(c.nc), bufio.NewWriter(c.nc)
	return true
}

func (c *session) mail(rest string) bool {
	if c.opened {
		return c.answer("nested", "503 5.5.1 nested MAIL")
	}
	c.message++
	path, params, _ := strings.Cut(strings.TrimPrefix(rest, "FROM:<"), ">")
	c.from, c.params, c.to = path, strings.TrimSpace(params), ""
	reply, ok := c.decide("MAIL", "250 2.1.0 ok")
	c.open(begins(reply, "2"))
	return ok && c.say(reply)
}

func (c *session) rcpt(rest string) bool {
	if !c.opened {
		return c.answer("early", "503 5.5.1 MAIL first")
	}
	c.to, _, _ = strings.Cut(strings.TrimPrefix(rest, "TO:<"), ">")
	reply, ok := c.decide("RCPT", "250 2.1.5 ok")
	if !begins(reply, "2") {
		c.to = ""
	}
	return ok && c.say(reply)
}

func (c *session) data() bool {
	usual := "354 go on"
	if c.to == "" {
		usual = "554 5.5.1 no valid recipients"
	}
	reply, ok := c.decide("DATA", usual)
	if !ok || !c.say(reply) || c.w.Flush() != nil {
		return false
	}
	if !begins(reply, "354") {
		return true
	}
	var body bytes.Buffer
	for first := true; ; first = false {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		if first {
			if a := c.action("BODY"); a != nil && a.Die {
				return false
			}
		}
		body.WriteString(strings.TrimPrefix(line, "."))
	}
	return c.dot(body.String())
}

func (c *session) dot(body string) bool {
	defer c.open(false)
	if c.to == "" {
		return c.say("554 5.5.1 no valid recipients")
	}
	a := c.action("DOT")
	reply := "250 2.0.0 accepted"
	switch {
	case a != nil && a.Raw != "":
		reply, c.raw = a.Raw, true
	case a != nil && a.Reply != "":
		reply = a.Reply
	}
	if begins(reply, "2") && (a == nil || !a.Die || a.Accept) {
		m := Message{Conn: c.number, From: c.from, To: c.to, Params: c.params, ID: messageID(body), At: time.Now()}
		if !c.server.options.Discard {
			m.Data = body
		}
		c.server.keep(m)
	}
	switch {
	case a != nil && a.Die:
		if c.raw {
			c.say(reply)
			_ = c.w.Flush()
		}
		return false
	case a != nil && a.Cut:
		_, _ = io.WriteString(c.w, reply[:2])
		_ = c.w.Flush()
		return false
	}
	return c.say(reply)
}

func (s *Server) keep(m Message) {
	if s.options.Accepted != nil {
		s.options.Accepted(m)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, m)
}

// messageID returns the Message-ID of a message. It does not keep the memory of the message.
func messageID(body string) string {
	head, _, _ := strings.Cut(body, "\r\n\r\n")
	_, after, found := strings.Cut(head, "Message-ID: ")
	if !found {
		return ""
	}
	id, _, _ := strings.Cut(after, "\r\n")
	return strings.Clone(id)
}
