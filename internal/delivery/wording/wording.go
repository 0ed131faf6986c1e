// Package wording knows how mail servers word what they refuse, and what their words mean. Sending
// uses it for replies, and reading reports for the replies that a report quotes. Words decide
// before the codes of RFC 5321 and RFC 3463, because servers give the same code for different
// causes.
package wording

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Kind is what the words of a server speak of.
type Kind int

// The kinds.
const (
	Message  Kind = iota // the size or the character set of the message
	Us                   // our account, sender, address, quota, authentication or content
	Full                 // the recipient's mailbox is full
	Disabled             // the mailbox exists, and is locked or out of use
	Declined             // the recipient, or a filter of the recipient, does not want the message
	Moved                // the recipient has another address now
	Domain               // the recipient's domain does not exist, or takes no mail
	Unknown              // the recipient does not exist
	Unlisted             // the same, in words of the mail system that has the list of recipients
	Later                // a server, a connection or a program failed, or the time was over
	kinds
)

var names = map[string]Kind{"message": Message, "us": Us, "full": Full, "disabled": Disabled,
	"declined": Declined, "moved": Moved, "domain": Domain, "unknown": Unknown, "unlisted": Unlisted, "later": Later}

// Kinds is the set of kinds that a text speaks of.
type Kinds uint16

// Has reports whether the text speaks of k.
func (s Kinds) Has(k Kind) bool { return s&(1<<k) != 0 }

// OfRecipient reports whether the text speaks of the recipient's address or mailbox.
func (s Kinds) OfRecipient() bool {
	return s&(1<<Full|1<<Disabled|1<<Declined|1<<Moved|1<<Domain|1<<Unknown|1<<Unlisted) != 0
}

// maxPatterns bounds the lines of wordings.tsv.
const maxPatterns = 1024

//go:embed wordings.tsv
var table string

// Line is a line of wordings.tsv.
type Line struct {
	Kind            Kind
	Server, Pattern string
	Reply           string // phase and reply, an example
	Source          string // where the wording is published
}

// ReportsOnly reports whether the line is for reports of bounces only.
func (l *Line) ReportsOnly() bool { return strings.HasPrefix(l.Reply, "REPORT ") }

// Lines returns the lines of wordings.tsv.
var Lines = sync.OnceValue(func() (all []Line) {
	for line := range strings.Lines(table) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		columns := strings.Split(line, "\t")
		kind, known := names[columns[0]]
		if len(columns) != 5 || !known {
			panic(fmt.Sprintf("wordings.tsv: not a line of the table: %q", line))
		}
		all = append(all, Line{kind, columns[1], columns[2], columns[3], columns[4]})
	}
	return all
})

// pattern is a wording that is ready for use.
type pattern struct {
	kind    Kind
	whole   bool // one of its literals is all that it asks for
	reports bool // for reports only
	match   *regexp.Regexp
}

var patterns = sync.OnceValue(func() (all []pattern) {
	for _, l := range Lines() {
		literals, whole := literalsOf(l.Pattern)
		whole = whole && shortest(literals) >= headSize
		all = append(all, pattern{l.Kind, whole, l.ReportsOnly(), regexp.MustCompile(l.Pattern)})
	}
	return all
})

// Of returns what a server's reply speaks of, in any case of letters, with any blanks between the
// words. The time grows with the length of the text, so the caller bounds the text.
func Of(text string) Kinds { return find(text, false) }

// OfReport returns what a text of a bounce speaks of. It knows more wordings than [Of].
func OfReport(text string) Kinds { return find(text, true) }

func find(text string, report bool) (found Kinds) {
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	if text == "" {
		return 0
	}
	all := patterns()
	var tried [maxPatterns]bool
	literals().in(text, func(i int) {
		p := &all[i]
		if tried[i] {
			return
		}
		tried[i] = true
		if !found.Has(p.kind) && (report || !p.reports) && (p.whole || p.match.MatchString(text)) {
			found |= 1 << p.kind
		}
	})
	return found
}
