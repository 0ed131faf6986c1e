package rig

import (
	"os"
	"path/filepath"
	"strings"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
)

// DroppedCopies returns how many messages a drop directory has for each recipient. Each message
// must be complete.
func (r *Rig) DroppedCopies(dir string) map[string]int {
	r.Helper()
	copies := map[string]int{}
	files, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			r.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "X-Receiver: <")
		to, _, _ := strings.Cut(rest, ">")
		if copies[to]++; !strings.HasSuffix(string(data), "--\r\n") {
			r.Errorf("the message of %s is cut off", to)
		}
	}
	return copies
}

// Copies returns how many messages the servers have together for each recipient.
func Copies(servers ...*smtptest.Server) map[string]int {
	copies := map[string]int{}
	for _, s := range servers {
		for a, n := range s.Copies() {
			copies[a] += n
		}
	}
	return copies
}

// Report returns the mailing's ledger by recipient address.
func (r *Rig) Report() map[string]ledger.Line {
	r.Helper()
	m, err := mailings.New(r.Pool).Get(r.Context(), r.ID())
	if err != nil {
		r.Fatal(err)
	}
	out := map[string]ledger.Line{}
	err = ledger.New(r.Pool).Report(r.Context(), m.Key, nil,
		func(l ledger.Line) error { out[l.Address] = l; return nil })
	if err != nil {
		r.Fatal(err)
	}
	return out
}

// Judge compares what was received (copies by recipient address) with the ledger, and returns how
// many messages were received more than once. Each recipient who is sent has a message. The ledger
// marks each recipient who has more than one as possibly twice. Nobody else has one, except a
// recipient whose outcome is uncertain.
func (r *Rig) Judge(copies map[string]int, recipients int) (duplicates int) {
	r.Helper()
	lines := r.Report()
	if len(lines) != recipients {
		r.Errorf("the ledger has %d recipients, %d expected", len(lines), recipients)
	}
	for a, l := range lines {
		n := copies[a]
		switch {
		case l.Outcome == ledger.Sent && n == 0:
			r.Errorf("%s is sent in the ledger and was not received", a)
		case n > 1 && !l.PossiblyTwice:
			r.Errorf("%s was received %d times and the ledger does not say so: %+v", a, n, l)
		case n > 0 && l.Outcome != ledger.Sent && l.Outcome != ledger.Uncertain:
			r.Errorf("%s was received and is %s in the ledger", a, l.Outcome)
		}
		duplicates += max(n-1, 0)
	}
	for a := range copies {
		if _, ok := lines[a]; !ok {
			r.Errorf("%s was received and is no recipient", a)
		}
	}
	return duplicates
}
