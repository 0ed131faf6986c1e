package wording

import (
	"strings"
	"testing"
)

func TestEachLineMatchesItsExampleAndHasASource(t *testing.T) {
	for _, l := range Lines() {
		_, reply, _ := strings.Cut(l.Reply, " ")
		if found := OfReport(reply); !found.Has(l.Kind) {
			t.Errorf("%s: %q does not match %q", l.Server, l.Reply, l.Pattern)
		}
		if found := Of(reply); !l.ReportsOnly() && !found.Has(l.Kind) {
			t.Errorf("%s: %q is of replies, and not found in one", l.Server, l.Reply)
		}
		if !strings.HasPrefix(l.Source, "https://") && !strings.HasPrefix(l.Source, "http://") {
			t.Errorf("%s: %q has no source", l.Server, l.Reply)
		}
		if l.Pattern != strings.ToLower(l.Pattern) && !strings.Contains(l.Pattern, `\S`) {
			t.Errorf("%s: %q has capitals: texts are compared in lower case", l.Server, l.Pattern)
		}
	}
}

func TestEachLineOfTheTableIsThereOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range Lines() {
		if seen[l.Pattern] {
			t.Errorf("%q is there twice", l.Pattern)
		}
		seen[l.Pattern] = true
	}
	if len(seen) < 150 {
		t.Errorf("the table has %d lines", len(seen))
	}
}

// The search for literals must find what the regular expressions find.
func TestTheShortWayFindsWhatThePatternsFind(t *testing.T) {
	var texts []string
	for _, l := range Lines() {
		_, reply, _ := strings.Cut(l.Reply, " ")
		texts = append(texts, reply)
	}
	for i := range texts {
		texts = append(texts, texts[i]+" "+texts[(i*7+3)%len(Lines())])
	}
	for _, text := range texts {
		text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
		may := map[int]bool{}
		literals().in(text, func(i int) { may[i] = true })
		for i, l := range Lines() {
			p := &patterns()[i]
			found := may[i] && (p.whole || p.match.MatchString(text))
			if want := p.match.MatchString(text); found != want {
				t.Errorf("%q in %q: %v, want %v", l.Pattern, text, found, want)
			}
		}
	}
	if always := literals().always; len(always) > 5 {
		t.Errorf("%d patterns have no literals that are long enough", len(always))
	}
}

func TestWordsForReportsOnlyDoNotDecideAboutReplies(t *testing.T) {
	for _, text := range []string{"quota exceeded for this message", "no longer active", "Unknown host"} {
		if Of(text).OfRecipient() && !OfReport(text).OfRecipient() {
			t.Errorf("%q: replies know more than reports", text)
		}
	}
	if OfReport("Sorry, I couldn't find any host named example.org.") == 0 ||
		Of("Sorry, I couldn't find any host named example.org.") != 0 {
		t.Error("a line for reports only is not kept to reports")
	}
}

func TestEachKindSaysWhetherItSpeaksOfTheRecipient(t *testing.T) {
	for kind := range kinds {
		want := kind != Message && kind != Us && kind != Later
		if got := Kinds(1 << kind).OfRecipient(); got != want {
			t.Errorf("kind %d speaks of the recipient: %v, want %v", kind, got, want)
		}
	}
	if !Of("User\n\tUNKNOWN  in virtual mailbox   table").Has(Unknown) {
		t.Error("blanks or capitals hide the words")
	}
}

func BenchmarkOfReport(b *testing.B) {
	text := "host mx.example.org[192.0.2.1] said: 550 5.1.1 <a@example.org>: Recipient address rejected: " +
		"User unknown in virtual mailbox table (in reply to RCPT TO command)"
	for b.Loop() {
		OfReport(text)
	}
}

func FuzzOf(f *testing.F) {
	for _, l := range Lines() {
		f.Add(l.Reply)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if few, all := Of(text), OfReport(text); few&^all != 0 {
			t.Errorf("a reply speaks of %b, a report with the same words of %b", few, all)
		}
	})
}
