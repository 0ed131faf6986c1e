package smtp

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// meaning is whom the words of a refusal speak of.
type meaning int

const (
	nobody       meaning = iota // no known wording
	theMessage                  // its size or its character set: another server may take it
	us                          // our account, sender, address, quota or authentication
	theRecipient                // the address or the mailbox
)

// meanings are the names in wordings.tsv.
var meanings = map[string]meaning{"message": theMessage, "us": us, "recipient": theRecipient}

//go:embed wordings.tsv
var wordingTable string

// wording is a line of wordings.tsv.
type wording struct {
	means           meaning
	server, pattern string
	reply           string // phase and reply, an example
	source          string // where the wording is published
}

// wordings returns the lines of wordings.tsv.
var wordings = sync.OnceValue(func() (all []wording) {
	for line := range strings.Lines(wordingTable) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 5 || meanings[columns[0]] == nobody {
			panic(fmt.Sprintf("wordings.tsv: not a line of the table: %q", line))
		}
		all = append(all, wording{meanings[columns[0]], columns[1], columns[2], columns[3], columns[4]})
	}
	return all
})

// patterns returns one regular expression for each meaning.
var patterns = sync.OnceValue(func() map[meaning]*regexp.Regexp {
	byMeaning := map[meaning][]string{}
	for _, w := range wordings() {
		byMeaning[w.means] = append(byMeaning[w.means], "(?:"+w.pattern+")")
	}
	compiled := map[meaning]*regexp.Regexp{}
	for m, all := range byMeaning {
		compiled[m] = regexp.MustCompile(strings.Join(all, "|"))
	}
	return compiled
})

// meaningOf returns whom the text of a 5xx reply speaks of.
func meaningOf(text string) meaning {
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	for _, m := range []meaning{theMessage, us, theRecipient} {
		if patterns()[m].MatchString(text) {
			return m
		}
	}
	return nobody
}
