package lint_test

import (
	"strings"
	"testing"

	"directmailer/internal/content/lint"
	"directmailer/workflows"
)

const head = `From: News <news@example.com>
To: r1@example.org
Subject: Spring
Date: Mon, 02 Jan 2006 15:04:05 +0000
Message-ID: <1@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
List-Unsubscribe: <https://lists.example.com/u/abc>, <mailto:u@example.com>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
DKIM-Signature: v=1; a=ed25519-sha256; d=example.com; s=x;
 h=From:From:List-Unsubscribe:
 List-Unsubscribe-Post; bh=x; b=y
`

// headed returns the findings of a message whose header has a text replaced.
func headed(before, after string) []lint.Finding {
	return looked(strings.Replace(head, before, after, 1) + "\nHello https://lists.example.com/u/abc")
}

// looked returns the findings of a message, whose lines end in LF here.
func looked(message string) []lint.Finding {
	l := lint.NewLinter(letter())
	l.Message([]byte(strings.ReplaceAll(message, "\n", "\r\n")), "r1@example.org", false)
	return l.Findings(lint.Setup{})
}

func TestEveryKindOfBadHeaderIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, before, after, want string }{
		{"good", "", "", ""},
		{"no unsubscribe", "List-Unsubscribe: ", "X-Other: ", "unsubscribe-missing unsubscribe-link-missing"},
		{"no https", "<https://lists", "<http://lists", "unsubscribe-not-one-click unsubscribe-link-missing"},
		{"only mailto", "<https://lists.example.com/u/abc>, ", "", "unsubscribe-not-one-click unsubscribe-link-missing"},
		{"no Post", "List-Unsubscribe-Post: ", "X-Post: ", "unsubscribe-not-one-click"},
		{"another Post", "=One-Click\n", "=Two-Click\n", "unsubscribe-not-one-click"},
		{"not signed", "\n List-Unsubscribe-Post;", ";", "unsubscribe-unsigned"},
		{"another name signed", "h=From:From:List-Unsubscribe:", "h=From:From:X-List-Unsubscribe:", "unsubscribe-unsigned"},
		{"no signature", "DKIM-Signature: ", "X-Signature: ", "dkim-key-missing"},
		{"a signature of somebody else", "d=example.com", "d=relay.example.net", "dkim-not-aligned"},
		{"a signature of the organization", "d=example.com", "d=mail.example.com", ""},
		{"To somebody else", "r1@example.org", "r2@example.org", "to-not-personal"},
		{"To several", "To: r1@example.org", "To: r1@example.org, r2@example.org", "to-not-personal"},
		{"To with a name", "To: r1@example.org", `To: "Ann, R." <R1@Example.org>`, ""},
		{"two of From", "From: ", "From: x@example.com\nFrom: ", "header-invalid"},
		{"two authors", "From: ", "From: x@example.com, ", "header-invalid"},
		{"no date", "Date: ", "X-Date: ", "header-invalid"},
		{"a date that is none", "02 Jan", "02 Foo", "header-invalid"},
		{"no subject", "Subject: Spring\n", "", "header-invalid"},
		{"an encoded subject", "Subject: Spring", "Subject: =?utf-8?q?R=65:_spring?=", "subject-fake-reply"},
		{"a long line", "Subject: Spring", "Subject: Spring\nX-Long: " + strings.Repeat("x", 1000), "line-too-long"},
		{"a header that is none", "From: News", "From News", "to-not-personal header-invalid"},
	} {
		all := headed(c.before, c.after)
		if c.name == "a header that is none" {
			if !strings.Contains(codes(all), "header-invalid") {
				t.Errorf("%s: got %s", c.name, codes(all))
			}
			continue
		}
		wantCodes(t, c.name, all, c.want)
	}
	quoted := `"ann..bee"@example.org` // as a Japanese provider gave them out
	l := lint.NewLinter(letter())
	l.Message([]byte(strings.ReplaceAll(strings.Replace(head, "r1@example.org", quoted, 1)+
		"\nHello https://lists.example.com/u/abc", "\n", "\r\n")), quoted, false)
	wantCodes(t, "an address in quotation marks", l.Findings(lint.Setup{}), "")
}

func TestAKeyThatThisShellCannotReadIsNotMissing(t *testing.T) {
	t.Parallel()
	l := lint.NewLinter(letter())
	l.Message([]byte(strings.ReplaceAll(strings.Replace(head, "DKIM-Signature: ", "X-Signature: ", 1)+
		"\nHello https://lists.example.com/u/abc", "\n", "\r\n")), "r1@example.org", false)
	all := l.Findings(lint.Setup{KeysNotRead: true})
	wantCodes(t, "the key", all, "dkim-key-not-read")
	if len(all) == 1 && all[0].Severity != lint.Note {
		t.Errorf("got %+v", all)
	}
}

func TestALongLineOfTheBodyIsFound(t *testing.T) {
	t.Parallel()
	for length, want := range map[int]string{998: "", 999: "line-too-long"} {
		body := "\nHello https://lists.example.com/u/abc\n" + strings.Repeat("x", length) + "\n"
		wantCodes(t, "a line", looked(head+body), want)
	}
}

func TestABlankBodyIsFoundAndAPageIsNotLookedAt(t *testing.T) {
	t.Parallel()
	raw := strings.ReplaceAll(strings.Replace(head, "text/plain", "text/html", 1)+"\n<p> &nbsp;</p>", "\n", "\r\n")
	l := lint.NewLinter(letter())
	l.Message([]byte(raw), "r1@example.org", false)
	wantCodes(t, "blank", l.Findings(lint.Setup{}), "body-blank unsubscribe-link-missing text-missing")
	l = lint.NewLinter(letter())
	l.Message([]byte(raw), "r1@example.org", true)
	wantCodes(t, "a page", l.Findings(lint.Setup{}), "pages-not-checked")
	wantCodes(t, "no message", lint.NewLinter(letter()).Findings(lint.Setup{}), "sample-missing")
}

func TestEachCodeHasOneRule(t *testing.T) {
	t.Parallel()
	seen := map[lint.Code]bool{}
	for _, rule := range lint.Rules() {
		if seen[rule.Code] || rule.Meaning == "" || rule.Action == "" || strings.HasSuffix(rule.Action, ".") ||
			strings.HasSuffix(rule.Meaning, ".") || strings.Trim(string(rule.Code), "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("%+v", rule)
		}
		seen[rule.Code] = true
	}
}

func TestAMailingThatNobodyCanLeaveIsAnErrorFromBulkMailOn(t *testing.T) {
	t.Parallel()
	in := letter()
	for _, c := range []struct {
		unsubscribe workflows.Unsubscribe
		setup       lint.Setup
		want        string
		severity    lint.Severity
	}{
		{"", lint.Setup{NoLinks: true}, "unsubscribe-missing", lint.Error},
		{"", lint.Setup{LocalLinks: true}, "unsubscribe-local", lint.Warning},
		{workflows.UnsubscribeNone, lint.Setup{Recipients: lint.Bulk, NoLinks: true}, "unsubscribe-none", lint.Warning},
		{workflows.UnsubscribeNone, lint.Setup{Recipients: lint.Bulk + 1}, "unsubscribe-none-bulk", lint.Error},
	} {
		in.Unsubscribe = c.unsubscribe
		all := lint.NewLinter(in).Findings(c.setup)
		wantCodes(t, "no message", all[:1], c.want)
		if all[0].Severity != c.severity || all[0].Field != "unsubscribe" {
			t.Errorf("got %+v", all[0])
		}
	}
}
