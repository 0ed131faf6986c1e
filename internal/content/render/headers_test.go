package render

import (
	"bytes"
	"fmt"
	"net/mail"
	"strings"
	"testing"

	"directmailer/internal/content/dkim"
	"directmailer/internal/content/dkim/dkimtest"
	"directmailer/internal/content/message"
)

// headerOf returns the header of the message for r, as the standard library reads it.
func headerOf(t *testing.T, s Spec, r Recipient) mail.Header {
	t.Helper()
	out, _ := render(t, s, r)
	m, err := mail.ReadMessage(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header
}

func TestToHasTheNameThatTheTemplateGives(t *testing.T) {
	t.Parallel()
	s := spec()
	s.ToName = " {{.first_name}} {{.last_name}}\n"
	for first, want := range map[string]string{
		"Anna": "Anna Lee", "": "Lee", "  ": "Lee", "Anna  Maria": "Anna Maria Lee",
		"Zoë": "Zoë Lee", "小明": "小明 Lee", "👩🏽‍🚀": "👩🏽‍🚀 Lee", "O'Brien,": "O'Brien, Lee",
		`"Pat" \`: `"Pat" \ Lee`, "a@b.c <x@y.z>,": "a@b.c <x@y.z>, Lee", "=?utf-8?q?x?=": "=?utf-8?q?x?= Lee",
		"A\r\nBcc: x@example.com": "A Bcc: x@example.com Lee", "A\u2028B\tC\x00D": "A B C D Lee",
		strings.Repeat("Long ", 199) + "N": strings.Repeat("Long ", 199) + "N Lee",
		strings.Repeat("é", 996):           strings.Repeat("é", 996) + " Lee",
		strings.Repeat("é", 997):           "", // no name has more than 1,000 characters
		strings.Repeat("x ", 100_000):      "",
	} {
		header := headerOf(t, s, anna("first_name", first, "last_name", "Lee"))
		to, err := header.AddressList("To")
		if err != nil || len(to) != 1 || to[0].Name != want || to[0].Address != "anna@example.org" {
			t.Errorf("%.60q: %.200v, %v", first, to, err)
		}
		if len(header["Bcc"]) > 0 {
			t.Errorf("%q adds a header", first)
		}
	}
	to := headerOf(t, s, anna("first_name", "", "last_name", " \n "))["To"]
	if len(to) != 1 || to[0] != "anna@example.org" {
		t.Errorf("without a name: %q", to)
	}
	if p := failure(t, s, anna()); p.Field != FieldToName || !p.OfTemplate || p.Line != 1 || p.Column != 20 {
		t.Errorf("without the field: %+v", p)
	}
}

func TestARecipientHasHisOwnHeaders(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Headers = map[string]string{
		"X-Plan": "{{.plan}}", "X-Campaign": "spring {{/* a comment */}}", "x-note": "{{/* nothing */}}",
		"Precedence": "bulk",
		"List-Help":  "<https://example.com/help?c={{urlquery .plan}}>", "Comments": "Hello {{.first_name}}",
	}
	s.Fields = []message.Field{{Name: "Feedback-ID", Value: "spring:news:example"}, {Name: "PRECEDENCE", Value: "list"}}
	header := headerOf(t, s, anna("plan", "gold\r\nBcc: x@example.com"))
	want := map[string]string{
		"X-Plan": "gold Bcc: x@example.com", "X-Campaign": "spring", "Precedence": "bulk", "Comments": "Hello Anna",
		"List-Help":   "<https://example.com/help?c=gold%0ABcc%3A+x%40example.com>",
		"Feedback-Id": "spring:news:example",
	}
	for name, value := range want {
		if got := header[name]; len(got) != 1 || got[0] != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if header["X-Note"] != nil || header["Bcc"] != nil {
		t.Errorf("there is more: %v", header)
	}
	if got := headerOf(t, s, anna("plan", " "))["X-Plan"]; got != nil {
		t.Errorf("a blank header is there: %q", got)
	}
	plain, with := headerOf(t, spec(), anna()), len(want)
	if len(header) != len(plain)+with {
		t.Errorf("%d headers, want %d", len(header), len(plain)+with)
	}
}

// A worker renders one message after the other with the same buffers.
func TestAHeaderOfOneRecipientIsInNoOtherMessage(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Headers = map[string]string{"X-Plan": "{{.plan}}"}
	r := mustCompile(t, s).NewRenderer(t.Context())
	for _, plan := range []string{"gold", "silver", ""} {
		out, _, err := r.Render(nil, anna("plan", plan))
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(m.Header["X-Plan"], ", "); got != plan {
			t.Errorf("X-Plan is %q, want %q", got, plan)
		}
	}
}

// A message that is rendered again, after a failure, has the same octets.
func TestASignatureHasTheTimeOfTheMailing(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Signer = dkimtest.Keys(t, "example.com", dkim.Ed25519).For("example.com")
	signature := headerOf(t, s, anna()).Get("DKIM-Signature")
	if want := fmt.Sprintf("; t=%d;", s.Date.Unix()); !strings.Contains(signature, want) {
		t.Errorf("%q is not in the signature %s", want, signature)
	}
}

func TestAHeaderThatCannotBeWrittenFailsTheRecipientByItsName(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ value, want string }{
		"References": {"<a@b> x", "is not of the form <left@right>"},
		"Precedence": {"Grüße", "not ASCII"},
		"List-Help":  {"javascript", "is not of the form <https"},
		"X-A":        {strings.Repeat("x", 4097), "longer than 4096"},
	} {
		s := spec()
		s.Headers = map[string]string{name: "{{.value}}"}
		p := failure(t, s, anna("value", test.value))
		if p.Field != "headers."+name || !strings.Contains(p.Message, test.want) || strings.Contains(p.Error(), test.value) {
			t.Errorf("%s: %.200v", name, p)
		}
	}
	s := spec()
	s.Headers = map[string]string{"X-A": "{{.missing}}"}
	if p := failure(t, s, anna()); p.Field != "headers.X-A" || !p.OfTemplate {
		t.Errorf("a field that is missing: %+v", p)
	}
}

func TestEveryHeaderThatIsNotFitIsAProblemBeforeTheStart(t *testing.T) {
	t.Parallel()
	s := spec()
	s.ToName = "{{.first_name"
	s.Headers = map[string]string{
		"From": "x@example.com", "Bcc": "x@example.com", "X-A": "{{if}}", "X-B": "a\nb", "X-b": "c", "X-C": " ",
		"Precedence": "Grüße", "X-D": strings.Repeat("x", 4097), "Received": "x", "X-E": "ok",
	}
	_, problems := Compile(s)
	var got []string
	for _, p := range problems {
		got = append(got, p.Field)
	}
	want := "to_name headers.Bcc headers.From headers.Precedence headers.Received headers.X-A headers.X-B headers.X-C " +
		"headers.X-D headers.X-b"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s", got)
	}
}

func TestStaticContentHasNamesAndHeadersOfItsRecipients(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Static, s.Text, s.HTML = true, "{{ as it is", ""
	s.ToName, s.Headers = "{{.first_name}}", map[string]string{"X-Mail": "{{.email}}"}
	header := headerOf(t, s, anna())
	if got := fmt.Sprint(header["To"], header["X-Mail"], header["Subject"]); got !=
		`[Anna <anna@example.org>] [anna@example.org] [Hello Anna]` {
		t.Errorf("got %s", got)
	}
}

func TestTheFieldsOfHeadersAreLookedAt(t *testing.T) {
	t.Parallel()
	s := spec()
	s.ToName, s.Headers = "{{.last_name}}", map[string]string{"X-A": "{{.plan}}"}
	if got := fmt.Sprint(mustCompile(t, s).Fields()); got != "[first_name last_name plan]" {
		t.Errorf("got %s", got)
	}
}

func TestATestIsMarkedAndHasTheFieldsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Test = true
	to := anna()
	to.Email = "bob@example.com"
	out, env := render(t, s, to)
	if got := env.GetHeader("Subject"); got != "[Test] Hello Anna" {
		t.Errorf("the subject is %q", got)
	}
	if !strings.Contains(env.Text, "this is for bob@example.com") || !strings.Contains(env.HTML, "for bob@example.com") {
		t.Errorf("the bodies are of somebody else: %s", out)
	}
	if got := env.GetHeader("To"); got != "anna@example.org" {
		t.Errorf("it goes to %q", got)
	}
}

func BenchmarkHeaders(b *testing.B) {
	s := long(b)
	s.ToName = "{{.first_name}} {{.city}}"
	s.Headers = map[string]string{"X-Plan": "{{.plan}}", "Precedence": "bulk"}
	r := mustCompile(b, s).NewRenderer(b.Context())
	to := reader(1, "zoe@example.org", "Zoë", "Łódź", "gold")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, _, err = r.Render(buf[:0], to); err != nil {
			b.Fatal(err)
		}
	}
}
