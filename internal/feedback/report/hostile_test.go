package report

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"directmailer/internal/feedback/token/tokentest"
)

// endless repeats a text without end.
type endless struct {
	text string
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		c := copy(p[n:], e.text[e.read%len(e.text):])
		n, e.read = n+c, e.read+c
	}
	return len(p), nil
}

// then returns a text that another follows without end.
func then(start, text string) io.Reader {
	return io.MultiReader(strings.NewReader(start), &endless{text: text})
}

// hostiles are messages that are made to cost much.
func hostiles() map[string]io.Reader {
	const multipart, system = "Content-Type: multipart/mixed; boundary=b\n\n", "From: postmaster\nSubject: " +
		"undeliverable\n\n"
	report := "From: MAILER-DAEMON@a.example\nContent-Type: multipart/report; boundary=b\n\n" +
		"--b\nContent-Type: text/plain\n\nfailed\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\n"
	nested := func(n int, kind, boundary string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("Content-Type: " + kind)
			if boundary != "" {
				fmt.Fprintf(&b, "; boundary=%s%d\n\n--%s%d\n", boundary, i, boundary, i)
			} else {
				b.WriteString("\n\n")
			}
		}
		return b.String()
	}
	var recipients, tokens strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&recipients, "Final-Recipient: rfc822; a%d@example.org\nAction: failed\nStatus: 5.1.1\n\n", i)
		fmt.Fprintf(&tokens, "To: b+%s@example.com\n", strings.Repeat("a", 30+i%20))
	}
	all := map[string]io.Reader{
		"a text without end":   then(report, "x"),
		"a line without end":   &endless{text: "a@"},
		"10,000 recipients":    strings.NewReader(report + recipients.String()),
		"10,000 addresses":     then(system, "<a@b.c>: 550 no\n<b@b.c>:"),
		"tokens without end":   strings.NewReader(tokens.String()),
		"fields without end":   &endless{text: "X-A: b\n"},
		"a field without end":  then("Subject: a\n", " folded line\n"),
		"a name without end":   &endless{text: "aaaa"},
		"fields of many lines": &endless{text: "X-A: b\n" + strings.Repeat(" c\n", maxField/2)},
		"a status of many lines": then(report, "Final-Recipient: rfc822; a@b.c\nStatus: 5.1.1\nDiagnostic-Code: x\n"+
			strings.Repeat(" c\n", maxField/2)),
		"diagnostics without end": then(report, "Diagnostic-Code: x\n"),
		"many parts of a status": then(multipart, "--b\nContent-Type: message/delivery-status\n\n"+
			"Action: failed\nStatus: 5\n"+strings.Repeat(" c\n", 2<<10)),
		"nested parts":         strings.NewReader(nested(10_000, "multipart/mixed", "n")),
		"one boundary, nested": strings.NewReader(strings.ReplaceAll(nested(10_000, "multipart/mixed", "n"), "n", "m")),
		"nested messages":      strings.NewReader(nested(20_000, "message/rfc822", "")),
		"parts without end":    then(multipart, "--b\n\n"),
		"reports without end": then(multipart, "--b\nContent-Type: message/delivery-status\n\nAction: "+
			"failed\nStatus: 5.1.1\n"),
		"boundaries almost":     then("Content-Type: multipart/mixed; boundary="+strings.Repeat("-", 60)+"\n\n", "-"),
		"base64 without sense":  then("Content-Transfer-Encoding: base64\n\n", "%%%=QQ"),
		"quoted without sense":  then("Content-Transfer-Encoding: quoted-printable\n\n", "=ZZ=\n"),
		"HTML without end":      then("Content-Type: text/html\n\n", "<p<b><<"),
		"an escape without end": then("Content-Type: text/plain; charset=iso-2022-jp\n\n", "\x1b$B\x1b("),
		"charset of nobody":     then("Content-Type: text/plain; charset="+strings.Repeat("x", 9000)+"\n\n", "\xff\xfe"),
		"encoded words":         then("Subject: ", "=?utf-7?q?=41?= "),
		"JSON, nested":          then("\n\n{\"notificationType\":", "[{\"a\":"),
		"NUL":                   &endless{text: "\x00"},
		"line breaks":           &endless{text: "\r\n"},
		"blanks":                then(system, " "),
		"links":                 then("\n\n", "https://a/"+strings.Repeat("b", 30)+" "),
		"digits":                then(system+"<a@b.c>: ", "5.1."),
	}
	zip := "PK\x03\x04" + strings.Repeat("\x00", 1<<16)
	all["a zip of parts"] = strings.NewReader(report + zip + "--b\nContent-Type: application/zip\n\n" + zip)
	return all
}

func TestHostileReportsDoNothingAndCostLittle(t *testing.T) {
	keys := tokentest.Keys(t, "a", "b", "c")
	rd := Reader{Keys: keys}
	rd.Read(nil) // makes the tables
	for name, message := range hostiles() {
		t.Run(name, func(t *testing.T) {
			data, err := io.ReadAll(io.LimitReader(message, 2*MaxRead))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			r := rd.Read(data)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20 {
				t.Errorf("allocated %d MB", allocated>>20)
			}
			if took > time.Minute { // the machine has other work: about 20 ms alone
				t.Errorf("took %v", took)
			}
			if len(r.Tokens) > 0 || len(r.Findings) > maxRecipients || len(r.Findings) == 0 {
				t.Errorf("%d tokens, %d findings", len(r.Tokens), len(r.Findings))
			}
			t.Logf("%v, %d KB allocated", took, (after.TotalAlloc-before.TotalAlloc)>>10)
		})
	}
}

func FuzzRead(f *testing.F) {
	data, _ := samples(f)
	for _, d := range data {
		f.Add(d)
	}
	rd := Reader{Keys: tokentest.Keys(f, "a")}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := rd.Read(data)
		if len(r.Findings) == 0 || len(r.Findings) > maxRecipients || len(r.ID) != 32 {
			t.Errorf("%d findings, ID %q", len(r.Findings), r.ID)
		}
		if len(r.Tokens) > 0 {
			t.Errorf("a token was forged: %v", r.Tokens)
		}
		for _, finding := range r.Findings {
			if strings.ContainsAny(finding.Diagnostic, "@\n\r") {
				t.Errorf("the diagnostic is %q", finding.Diagnostic)
			}
		}
		again := rd.Read(bytes.Clone(data))
		if findingsOf(again) != findingsOf(r) || again.ID != r.ID {
			t.Error("read again, the report is another")
		}
	})
}
