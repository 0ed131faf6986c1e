package message

import (
	"bytes"
	"errors"
	"mime"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"

	"github.com/jhillyerd/enmime/v2"
)

// added returns the sample message with one more field, as two parsers read it.
func added(t *testing.T, name, value string) (*mail.Message, *enmime.Envelope) {
	t.Helper()
	m := sample()
	m.Fields = []Field{{name, value}}
	b := compose(t, m)
	checkWire(t, b, false)
	std, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	env, err := enmime.ReadEnvelope(bytes.NewReader(b))
	if err != nil || len(env.Errors) > 0 {
		t.Fatal(err, env.Errors)
	}
	if got, want := len(std.Header), len(mustRead(t, sample()).Header)+1; got != want {
		t.Errorf("%s %q: %d fields, want %d", name, value, got, want)
	}
	return std, env
}

func TestTextOfAnAddedFieldComesBackFromTwoParsers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"X-Campaign", "Comments", "Organization", "X-" + strings.Repeat("n", MaxFieldName-2)} {
		for _, value := range []string{
			"spring", "Grüße aus Köln", "🎉", strings.Repeat("🎉", 300), "Привет, Анна! " + strings.Repeat("слово ", 50) + "конец",
			"=?utf-8?q?not_encoded?=", "a  b", strings.Repeat("a long value in plain words ", 20) + "end",
			strings.Repeat("x", 1200), `O'Brien said "hi" \ (ok) <x@y>; a=b`, "a: b", strings.Repeat("é", 60) + "tab\tinside",
		} {
			std, env := added(t, name, value)
			got, err := new(mime.WordDecoder).DecodeHeader(std.Header.Get(name))
			if err != nil || got != value {
				t.Errorf("%s %q came back as %q, %v", name, value, got, err)
			}
			if got := env.GetHeader(name); got != value && !strings.HasPrefix(value, "=?") {
				t.Errorf("enmime: %s %q came back as %q", name, value, got)
			}
		}
	}
}

func TestFieldsThatReadersCompareAreNeverEncoded(t *testing.T) {
	t.Parallel()
	id := "<spring.1." + strings.Repeat("x", 300) + "@example.com>"
	for _, f := range []Field{
		{"Precedence", "bulk"}, {"importance", "high"}, {"Auto-Submitted", "auto-generated"},
		{"Feedback-ID", "spring:news:promotion:example"},
		{"List-Help", "<https://example.com/help?a=b&c=d>, <mailto:help@example.com>"}, {"List-Post", "NO"},
		{"References", strings.Repeat(id+" ", 20) + id}, {"In-Reply-To", "<a@b>"},
	} {
		std, env := added(t, f.Name, f.Value)
		if got := std.Header.Get(f.Name); got != f.Value {
			t.Errorf("%s: %q", f.Name, got)
		}
		if got := env.GetHeader(f.Name); got != f.Value {
			t.Errorf("enmime: %s: %q", f.Name, got)
		}
	}
	std, _ := added(t, "Keywords", "news, Grüße,  , O'Brien")
	got, err := new(mime.WordDecoder).DecodeHeader(std.Header.Get("Keywords"))
	if err != nil || got != "news, Grüße, O'Brien" || !strings.HasPrefix(std.Header.Get("Keywords"), "news, =?") {
		t.Errorf("keywords: %q, %v", std.Header.Get("Keywords"), err)
	}
}

func TestAFieldThatIsNotFitIsRefusedAndNotRepeatedInTheError(t *testing.T) {
	t.Parallel()
	const mark = "SECRET"
	for _, f := range []Field{
		{"X-A", mark + "\r\nBcc: x@example.com"}, {"X-A", mark + "\n"}, {"X-A", mark + "\x00"}, {"X-A", mark + "\xff"},
		{"Keywords", mark + "\r"}, {"Precedence", mark + "é"}, {"Importance", mark + strings.Repeat("x", 1000)},
		{"List-Help", mark}, {"List-Help", "<https://example.com/" + mark + " b>"},
		{"List-Help", "<https://example.com/" + mark + ">, <x"}, {"List-Help", "<" + mark + ">"},
		{"List-Help", "<https://example.com/" + mark + "> Bcc: <mailto:x@example.com>"},
		{"References", mark}, {"References", "<a@b> <" + mark + ">"}, {"In-Reply-To", "<" + mark + "@é>"},
		{"Feedback-ID", mark + ":b:c:d:e"}, {"Feedback-ID", mark + ": b"}, {"Feedback-ID", mark + "ü"},
	} {
		m := sample()
		m.Fields = []Field{f}
		out, err := m.Append([]byte("before"))
		var refused *FieldError
		if !errors.As(err, &refused) || refused.Field != "headers."+f.Name || string(out) != "before" {
			t.Errorf("%s: %v", f.Name, err)
		} else if strings.Contains(err.Error(), mark) {
			t.Errorf("%s: the error repeats the value", f.Name)
		}
	}
}

func TestOnlyHeadersThatChangeNoOthersMeaningMayBeAdded(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"X-Campaign": "", "x-a_b": "", "Organization": "", "ORGANIZATION": "", "List-Help": "", "List-Post": "",
		"Feedback-ID": "", "References": "", "Auto-Submitted": "",
		"From": "use from", "to": "use to_name", "Reply-To": "use reply_to", "Subject": "use subject", "Bcc": "one recipient",
		"Return-Path": "use envelope_sender",
		"Date":        "not among", "Message-ID": "not among", "MIME-Version": "not among", "Content-Type": "not among",
		"Content-Transfer-Encoding": "not among", "Received": "not among", "DKIM-Signature": "not among",
		"Resent-To": "not among", "List-Id": "not among", "Authentication-Results": "not among",
		"": "not a usable name", "X-": "not among", "X A": "not a usable name", "X-A:": "not a usable name",
		"X-A\r\nBcc": "not a usable name", "X-é": "not a usable name", "-X": "not a usable name",
		"X-" + strings.Repeat("n", MaxFieldName): "not a usable name",
	} {
		switch err := CheckFieldName(name); {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", name, err, want)
		case want != "":
			if out, err := AppendField([]byte("before"), Field{name, "v"}); err == nil || string(out) != "before" {
				t.Errorf("%q is written: %v", name, err)
			}
		}
	}
}

// FuzzField: whatever is put into an added field is refused, or is this one field to a parser that
// is not ours.
func FuzzField(f *testing.F) {
	for _, name := range []string{"X-A", "Keywords", "List-Help", "References", "Feedback-ID", "Precedence"} {
		for _, value := range []string{
			"a", "Grüße, b", "x\r\nBcc: y", "<https://a.b>, <c:d>", "<a@b> <c@d>", "a:b:c:d", "a  b",
		} {
			f.Add(name, value)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		m := sample()
		m.Fields = []Field{{name, value}}
		b, err := m.Append(nil)
		if err != nil {
			return
		}
		for i, line := range bytes.Split(b, []byte("\r\n")) {
			if len(line) > 998 || bytes.ContainsAny(line, "\r\n") {
				t.Fatalf("line %d: %q", i, line)
			}
			if i > 0 && len(line) > 0 && len(bytes.TrimSpace(line)) == 0 {
				t.Fatalf("line %d is blank: %q", i, b)
			}
		}
		std, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		found := std.Header[textproto.CanonicalMIMEHeaderKey(name)]
		if len(std.Header) != len(mustRead(t, sample()).Header)+1 || len(found) != 1 {
			t.Fatalf("%q is %v", name, std.Header)
		}
	})
}
