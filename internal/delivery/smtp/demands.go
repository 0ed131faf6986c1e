package smtp

import (
	"errors"
	"regexp"
	"syscall"
)

// tooManyConnections matches texts by which servers ask for fewer connections. The tests list the
// wordings of servers and providers, each with its source.
var tooManyConnections = regexp.MustCompile(`(?i)` +
	`\btoo many(?: \w+){0,3} (?:connections?|sessions?|connects|threads|processes|clients)\b|` +
	`\b(?:concurrent|simultaneous|parallel|open)(?: \w+){0,2} (?:connections?|sessions?|logins?)\b|` +
	`\b(?:connections?|sessions?|threads?|concurrency)(?: \w+){0,2} (?:limits?|rate|quota)\b(?: \w+){0,4} ` +
	`(?:exceed(?:ed|s)?|reached|allowed|hit)\b|` +
	`\b(?:max(?:imum)?|limit|number)(?: \w+){0,3} (?:of|for) (?:\w+ ){0,2}(?:connections?|sessions?)\b|` +
	`\bexceed\w*(?: \w+){0,4} (?:connections?|sessions?)\b|` +
	`\bconcurrency limit\b|\btrop de connexions\b`)

// perSession matches texts about the messages or recipients of one connection: another connection
// may carry more.
var perSession = regexp.MustCompile(`(?i)\b(?:per|in|on|for|within|during) (?:this |the |one |a |each |your )*` +
	`(?:(?:smtp|tcp|mail) )?(?:connection|session)\b`)

// WantsFewerConnections reports whether err says that we have more connections than the server
// gives, or than this worker may open. Other servers use 432 for a log-in only; Exchange Online
// uses it for a connection too many.
func WantsFewerConnections(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	r, ok := errors.AsType[*Refusal](err)
	return ok && r.wantsFewerConnections()
}

func (e *Refusal) wantsFewerConnections() bool {
	switch {
	case e.Code == 0, perSession.MatchString(e.Text):
		return false
	case e.Code == 432 && e.Phase != PhaseAuth:
		return true
	}
	return tooManyConnections.MatchString(e.Text)
}
