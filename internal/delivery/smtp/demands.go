package smtp

import (
	_ "embed"
	"errors"
	"regexp"
	"strings"
	"sync"
	"syscall"
)

// demand is what a reply asks for. A reply that has several kinds of words asks for the first.
type demand int

const (
	noDemand         demand = iota
	spareRecipient          // fewer messages for the recipient: not about us
	newSession              // another connection after so many messages
	fewerConnections        // fewer connections at a time
	slowerRate              // fewer messages a second
)

// demands are the names in demands.tsv.
var demands = map[string]demand{
	"recipient": spareRecipient, "session": newSession, "connections": fewerConnections, "rate": slowerRate,
}

//go:embed demands.tsv
var demandTable string

// demandPatterns returns one regular expression for each demand.
var demandPatterns = sync.OnceValue(func() map[demand]*regexp.Regexp {
	byDemand := map[demand][]string{}
	for _, line := range demandLines() {
		byDemand[demands[line[0]]] = append(byDemand[demands[line[0]]], `\b(?:`+line[2]+`)`)
	}
	compiled := map[demand]*regexp.Regexp{}
	for d, all := range byDemand {
		compiled[d] = regexp.MustCompile(strings.Join(all, "|"))
	}
	return compiled
})

// demandLines returns the lines of demands.tsv by columns.
func demandLines() (all [][]string) {
	for line := range strings.Lines(demandTable) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 5 || demands[columns[0]] == noDemand {
			panic("demands.tsv: not a line of the table: " + line)
		}
		all = append(all, columns)
	}
	return all
}

// demandOf returns what the text of a reply asks for.
func demandOf(text string) demand {
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	for d := spareRecipient; d <= slowerRate; d++ {
		if demandPatterns()[d].MatchString(text) {
			return d
		}
	}
	return noDemand
}

// WantsFewerConnections reports whether err says that we have more connections than the server
// gives, or than this worker may open. Most servers use 432 for a log-in only; Exchange Online uses
// it for a connection too many.
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
	case e.Code == 0:
		return false
	case e.Code == 432 && e.Phase != PhaseAuth:
		return true
	}
	return demandOf(e.Text) == fewerConnections
}

// wantsNewSession reports whether another connection may carry the message. The first message of a
// connection is not too many.
func (e *Refusal) wantsNewSession() bool {
	return e.Code >= 400 && e.Code < 500 && demandOf(e.Text) == newSession
}

// wantsSlowerRate reports whether a 4xx reply asks for fewer messages a second from us. Codes about
// the mailbox (4.2.x) speak of the recipient.
func (e *Refusal) wantsSlowerRate() bool {
	return e.Code >= 400 && e.Code < 500 && e.Enhanced[1] != 2 && demandOf(e.Text) == slowerRate
}
