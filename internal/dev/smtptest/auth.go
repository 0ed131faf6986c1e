package smtptest

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"
)

// The texts of the challenges.
const (
	askUser     = "334 VXNlcm5hbWU6"
	askPassword = "334 UGFzc3dvcmQ6"
	cramText    = "<1896.697170952@server.example>"
)

func (s *Server) mechanisms() []string {
	if len(s.options.Mechanisms) > 0 {
		return s.options.Mechanisms
	}
	return []string{"PLAIN"}
}

func (s *Server) password() string {
	if s.options.PasswordNow != nil {
		return s.options.PasswordNow()
	}
	return s.options.Password
}

// login is one AUTH command and what follows.
type login struct {
	*session
	closed bool // the session ends
	done   bool // the last reply is given
}

// auth answers AUTH. A script may replace each challenge (phase "challenge") and each last reply
// (phase "AUTH"). A last reply that begins with 334 is one more challenge.
func (c *session) auth(rest string) bool {
	name, initial, _ := strings.Cut(rest, " ")
	c.mechanism = name
	l := &login{session: c}
	password := c.server.password()
	response := decode(initial)
	var want string
	switch name {
	case "PLAIN":
		want = "\x00user\x00" + password
	case "XOAUTH2":
		want = "user=user\x01auth=Bearer " + password + "\x01\x01"
	case "LOGIN":
		want = "user\x00" + password
		response = l.ask(askUser) + "\x00" + l.ask(askPassword)
	case "CRAM-MD5":
		mac := hmac.New(md5.New, []byte(password))
		mac.Write([]byte(cramText))
		want = fmt.Sprintf("user %x", mac.Sum(nil))
		response = l.ask("334 " + base64.StdEncoding.EncodeToString([]byte(cramText)))
	default:
		return c.answer("AUTH", "504 5.5.4 not supported")
	}
	for !l.done && !l.closed {
		usual := "535 5.7.8 wrong"
		if response == want {
			usual = "235 2.7.0 welcome"
		}
		reply, ok := c.decide("AUTH", usual)
		if l.done, l.closed = true, !ok || !c.say(reply); begins(reply, "334") {
			l.done, response = false, l.read()
		}
	}
	return !l.closed
}

// ask sends a challenge and reads the response.
func (l *login) ask(challenge string) string {
	if l.done || l.closed {
		return ""
	}
	reply, ok := l.decide("challenge", challenge)
	if l.closed = !ok || !l.say(reply); l.closed {
		return ""
	}
	if l.done = !begins(reply, "334"); l.done {
		return ""
	}
	return l.read()
}

// read reads a response. A single * cancels the log-in.
func (l *login) read() string {
	if l.closed = l.w.Flush() != nil; l.closed {
		return ""
	}
	line, err := l.r.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if l.closed = err != nil; line == "*" {
		l.done, l.closed = true, !l.say("501 5.7.0 cancelled")
	}
	return decode(line)
}

func decode(text string) string {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	return string(decoded)
}
