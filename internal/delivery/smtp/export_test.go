package smtp

import (
	"regexp"
	"strings"

	"directmailer/internal/delivery/wording"
)

// Pipelining reports whether the server has listed PIPELINING.
func (c *Conn) Pipelining() bool { return c.ext.pipelining }

// SetTimeouts changes the timeouts of an open session.
func (c *Conn) SetTimeouts(t Timeouts) { c.options.Timeouts = t.withDefaults() }

// Pending reports whether the server has sent something, or has closed the connection.
func (c *Conn) Pending() bool { return c.peek.pending() }

// Secure reports whether the connection is encrypted.
func (c *Conn) Secure() bool { return c.secure }

// Wording is a line of wordings.tsv as its test needs it.
type Wording struct {
	Server, Reply, Source string
	Class                 Class // that of its replies
	Matches               bool  // the pattern matches the reply
}

// Wordings returns the lines of wordings.tsv.
func Wordings() (all []Wording) {
	for _, l := range wording.Lines() {
		if l.ReportsOnly() {
			continue
		}
		class := Bounced
		switch l.Kind {
		case wording.Us:
			class = Refused
		case wording.Message:
			class = Unfit
		}
		matches := regexp.MustCompile(l.Pattern).MatchString(strings.ToLower(l.Reply))
		all = append(all, Wording{l.Server, l.Reply, l.Source, class, matches})
	}
	return all
}

// CutEnhanced divides the text of a reply into its enhanced status code and the rest.
func CutEnhanced(text string, code int) (EnhancedCode, string) {
	e, rest, _ := cutEnhanced([]byte(text), code)
	return e, string(rest)
}

// Demand is a line of demands.tsv as its test needs it.
type Demand struct {
	Kind, Server, Reply, Source string
	Matches                     bool // the pattern matches the reply
}

// Demands returns the lines of demands.tsv.
func Demands() (all []Demand) {
	for _, l := range demandLines() {
		matches := regexp.MustCompile(l[2]).MatchString(strings.ToLower(l[3]))
		all = append(all, Demand{l[0], l[1], l[3], l[4], matches})
	}
	return all
}
