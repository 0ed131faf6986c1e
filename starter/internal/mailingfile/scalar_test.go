package mailingfile_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/internal/content/render"
)

// behind is the rest of a mailing file behind its subject.
const behind = "\nfrom: news@example.com\nlist: people\ncontent: {text: Hello}\n"

func TestATextThatACommentCutsIsRefused(t *testing.T) {
	t.Parallel()
	const why = ": a comment begins at this #, so the text ends before it: " +
		"put the text in quotes, or the comment on a line of its own"
	for name, test := range map[string]struct{ text, want string }{
		"subject":        {"subject: Issue #12 is out" + behind, "mailing.yaml:1:16: subject"},
		"behind a tab":   {"subject: Issue\t#12" + behind, "mailing.yaml:1:16: subject"},
		"at the start":   {"subject: #1 in town" + behind, "mailing.yaml:1:10: subject"},
		"at once":        {"subject:   #sale" + behind, "mailing.yaml:1:12: subject"},
		"second line":    {"subject: Issue\n  no #12" + behind, "mailing.yaml:2:6: subject"},
		"beyond ASCII":   {"subject: Zoë für #12" + behind, "mailing.yaml:1:18: subject"},
		"name in quotes": {"\"subject\": Issue #12" + behind, "mailing.yaml:1:18: subject"},
		"a short text":   {"subject: N #" + behind, "mailing.yaml:1:12: subject"},
		"a number":       {"subject: 12 #12" + behind, "mailing.yaml:1:13: subject"},
		"a template":     {"subject: Hi {{.first_name}} #12" + behind, "mailing.yaml:1:29: subject"},
		"reply_to":       {"subject: News\nreply_to: Team #1 <a@example.com>" + behind, "mailing.yaml:2:16: reply_to"},
		"text in a line": {short + "content:\n  text: Room #5\n  html: x\n", "mailing.yaml:5:14: content.text"},
		"HTML in a line": {short + "content:\n  html: <p>Room #5</p>\n", "mailing.yaml:5:17: content.html"},
		"text of a flow": {short + "content: {\n  text: Room #5\n  }\n", "mailing.yaml:5:14: content.text"},
		"SQL": {"from: news@example.com\nsubject: News\nquery:\n  source: crm\n  sql: SELECT a FROM b WHERE c = 'no #5'\n" +
			"content: {text: Hello}\n", "mailing.yaml:5:38: query.sql"},
	} {
		got := faults(t, map[string]string{"mailing.yaml": test.text})
		if first, _, _ := strings.Cut(got, "\n"); first != test.want+why {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, test.want+why)
		}
	}
	got := faults(t, map[string]string{"mailing.yaml": "from: Desk #5 <a@example.com>\nsubject: News\nlist: people\n"})
	if !strings.HasPrefix(got, "mailing.yaml:1:12: from"+why+"\n") || strings.Contains(got, "mailing.yaml:1:7") {
		t.Errorf("from: got\n%s", got)
	}
	got = faults(t, map[string]string{"mailing.yaml": short + "content: {text: Room #5}\n"})
	if !strings.HasPrefix(got, "mailing.yaml:4:10: { opens here") || !strings.Contains(got, `" #"`) {
		t.Errorf("a comment behind a brace: got\n%s", got)
	}
}

func TestCommentsThatCutNoTextAreTaken(t *testing.T) {
	t.Parallel()
	f := load(t, map[string]string{"mailing.yaml": `# our newsletter
from: "Desk #5 <news@example.com>"   # in quotes
subject: 'Issue #12'  # in quotes
# a line of its own
list: people          # a name has no blank
content: # the message
  text: |  # as it is
    Room #5
    # 6
batch_size: 250 # a number
on_uncertain: hold # a word
`})
	if f.Input.From != "Desk #5 <news@example.com>" || f.Input.Subject != "Issue #12" ||
		f.Input.Content.Text != "Room #5\n# 6\n" || f.Input.List != "people" || f.Input.BatchSize != 250 {
		t.Errorf("got %+v", f.Input)
	}
	for _, subject := range []string{"C#", "Issue#12", "a#b #", "'a #'", "#x"} {
		quoted := "subject: \"" + subject + "\"" + behind
		if got := load(t, map[string]string{"mailing.yaml": quoted}).Input.Subject; got != subject {
			t.Errorf("%s is %q", subject, got)
		}
	}
}

func TestASubjectAndAddressesInABlockAreOneLine(t *testing.T) {
	t.Parallel()
	for _, block := range []string{">", "|", ">-", "|-", ">+", "|+", "|2", "> # folded"} {
		text := strings.ReplaceAll(`from: BLOCK
  Example News
  <news@example.com>
reply_to: BLOCK
  help@example.com
envelope_sender: BLOCK
  bounces@example.com
subject: BLOCK
  A long subject for {{.first_name}}

    that goes over lines
list: BLOCK
  people
content:
  text: |
    a
    b

`, "BLOCK", block)
		in := load(t, map[string]string{"mailing.yaml": text}).Input
		if in.Subject != "A long subject for {{.first_name}} that goes over lines" ||
			in.From != "Example News <news@example.com>" || in.ReplyTo != "help@example.com" ||
			in.EnvelopeSender != "bounces@example.com" || in.List != "people" || in.Content.Text != "a\nb\n" {
			t.Errorf("%s: got %+v", block, in)
		}
	}
	if got := load(t, map[string]string{"mailing.yaml": "subject: A\n  b\n\n  c" + behind}).Input.Subject; got != "A b c" {
		t.Errorf("a plain text of several lines is %q", got)
	}
	got := faults(t, map[string]string{"mailing.yaml": "subject: \"News\\nBcc: x@example.com\"" + behind})
	if got != "mailing.yaml:1:10: subject: has a line break" {
		t.Errorf("a line break that is written out: %s", got)
	}
}

func TestAFaultInASubjectOfSeveralLinesHasItsLine(t *testing.T) {
	t.Parallel()
	f := load(t, map[string]string{"mailing.yaml": "subject: |\n  Zoë\n\n    für {{.x}}\n  {{nofield}}\n" + behind})
	_, problems := render.Compile(render.Spec{Mailing: "m", From: f.Input.From, Subject: f.Input.Subject, Text: "x"})
	for _, p := range problems {
		if p.Field == "subject" {
			if got := filepath.Base(f.Locate(p.Field, p.Line, p.Column)); got != "mailing.yaml:5:3" {
				t.Errorf("%v is at %s", p, got)
			}
			return
		}
	}
	t.Errorf("got %v", problems)
}

// What YAML reads in its own way either is the text that the author wrote, or is refused with a
// reason.
func TestNoTextIsReadAsAnythingElse(t *testing.T) {
	t.Parallel()
	for _, same := range []string{
		"yes", "no", "on", "off", "Y", "12:30", "2026-11-30", "2026-11-30T10:00:00Z", "-x", "?x", ":x", "50% off",
		"hi {{.a}}", "https://www.example.com", "a' b", `say "hi"`, "<<", "=", "a, b", "a ] b", "a & b", "1 000",
	} {
		f := load(t, map[string]string{"mailing.yaml": "subject: " + same + behind})
		if f.Input.Subject != same {
			t.Errorf("%s is %q", same, f.Input.Subject)
		}
	}
	for text, want := range map[string]string{
		"null": "subject: is missing, because null stands for no value: put a text in quotes",
		"~":    "subject: is missing, because ~ stands for no value: put a text in quotes",
		"true": "put it in quotes", "0123": "put it in quotes", "1e3": "put it in quotes", "2026": "put it in quotes",
		"0x10": "put it in quotes", ".nan": "put it in quotes", "1_000": "put it in quotes",
		"{{.a}}": "put it in quotes", "{{.a}} hi": "must be in quotes", "[New] hi": "must be in quotes",
		"@ann":       "must not begin with @: put it in quotes",
		"%d":         "must not begin with %: put it in quotes",
		"`a`":        "must not begin with `: put it in quotes",
		"- a":        `must not begin with "- ": put it in quotes`,
		"? a":        `must not begin with "? ": put it in quotes`,
		"!new":       "put the text in quotes",
		"&new":       "put the text in quotes",
		"*new*":      "put the text in quotes",
		"> 20 %":     "must be in quotes",
		"|a|":        "must be in quotes",
		"Re: a":      "must be in quotes",
		"a:":         "must be in quotes",
		"'It's new'": "put the whole value in quotes",
		`"a" b`:      "put the whole value in quotes",
		"a\u2028b":   "mailing.yaml:1:11: a line separator stands here",
		"a\u0085b":   "mailing.yaml:1:11: a line separator stands here",
	} {
		got := faults(t, map[string]string{"mailing.yaml": "subject: " + text + behind})
		if !strings.Contains(got, want) || !strings.HasPrefix(got, "mailing.yaml:1:") {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestLineEndsOfAnyKindAreLineEnds(t *testing.T) {
	t.Parallel()
	const text = "from: news@example.com\nsubject: News\nlist: people\ncontent:\n  text: |\n    a\n\n    b\n"
	for _, end := range []string{"\n", "\r\n", "\r\r\n", "\r"} {
		f := load(t, map[string]string{"mailing.yaml": strings.ReplaceAll(text, "\n", end)})
		if f.Input.Content.Text != "a\n\nb\n" || f.Input.Subject != "News" {
			t.Errorf("%q: got %+v", end, f.Input)
		}
		bad := strings.ReplaceAll(text, "\n", end) + fmt.Sprintf("form: x%s", end)
		got := faults(t, map[string]string{"mailing.yaml": bad})
		if got != "mailing.yaml:9:1: form: is not a field of a mailing" {
			t.Errorf("%q: got %s", end, got)
		}
	}
}
