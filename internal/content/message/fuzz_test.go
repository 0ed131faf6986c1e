package message

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"github.com/jhillyerd/enmime/v2"

	"directmailer/internal/audience/address"
)

// FuzzMessage: whatever is put into a message is refused, or comes out of two parsers that are not
// ours, and nothing else comes out.
func FuzzMessage(f *testing.F) {
	f.Add("Hello", "Example News", "anna", "Hello Anna\n", "<p>Hello Anna</p>\n", uint8(0))
	f.Add("Grüße aus Köln", "Anna Müller", "jürgen", "Zażółć gęślą jaźń\r\n", "<b>ü</b>", uint8(0))
	f.Add("x\r\nBcc: y@example.org", "a\nb", "a\r\nb", "\r", "\x00", uint8(0))
	f.Add("=?utf-8?q?not_encoded?=", "=?x?=", `"q\"\\ > x"`, "--=_abc\n.\n..\nFrom me\n", "a=b==\n", uint8(0))
	f.Add(
		strings.Repeat("a long subject in plain words ", 40),
		strings.Repeat("é", 200),
		`"x> NOTIFY=NEVER"`,
		"trailing  \t \n\n\n",
		"",
		uint8(1),
	)
	f.Add(" edge ", "O'Brien, Pat", "a.b", "", strings.Repeat("🎉", 300), uint8(2))
	f.Add("", `Pat "Patty" \ Smith`, "a", strings.Repeat("z", 76)+" \n", "\u2028", uint8(1))
	f.Add("tab\tinside", "a@b", `" "`, "\xff", "\x7f\x1b[0m", uint8(0))
	f.Fuzz(func(t *testing.T, subject, name, local, text, html string, leave uint8) {
		m := sample()
		m.Subject = subject
		m.From.Name, m.To.Name = name, name
		to, err := address.Parse(local + "@example.org")
		if err != nil {
			return // nobody can have such an address: package address has its own tests
		}
		m.To.Address = to
		m.ReplyTo = mailbox(name, "reply@example.net")
		m.Text, m.HTML = []byte(text), []byte(html)
		switch leave % 3 {
		case 1:
			m.HTML = nil
		case 2:
			m.Text = nil
		}
		dst := []byte("what was there")
		b, err := m.Append(dst)
		if err != nil {
			if string(b) != "what was there" {
				t.Errorf("a refused message left %q", b)
			}
			return
		}
		b, ok := bytes.CutPrefix(b, dst)
		if !ok {
			t.Fatal("what was there is gone")
		}
		checkWire(t, b, m.NeedsUTF8())

		std, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for field, values := range std.Header {
			if !strings.Contains(" From To Reply-To Subject Date Message-Id List-Id Mime-Version Content-Type "+
				"Content-Transfer-Encoding ", " "+field+" ") || len(values) != 1 {
				t.Errorf("the field %s, %d times", field, len(values))
			}
		}
		if got, err := new(mime.WordDecoder).DecodeHeader(std.Header.Get("Subject")); err != nil || got != subject {
			t.Errorf("subject %q came back as %q, %v", subject, got, err)
		}
		for field, want := range map[string]string{"From": "news@example.com", "To": m.To.Address.String(),
			"Reply-To": "reply@example.net"} {
			list, err := std.Header.AddressList(field)
			if err != nil || len(list) != 1 || list[0].Name != name || list[0].Address != unquoted(want) {
				t.Errorf("%s %q <%s> came back as %v, %v", field, name, want, list, err)
			}
		}
		want := map[string]string{}
		if m.Text != nil {
			want["text/plain"] = ended(text)
		}
		if m.HTML != nil {
			want["text/html"] = ended(html)
		}
		checkParts(t, std, want)
		checkEnmime(t, b, want)
	})
}

// ended is a body as it travels: each line with its CRLF, the last one as well.
func ended(s string) string {
	s = canonical(s)
	if s != "" && !strings.HasSuffix(s, "\r\n") {
		s += "\r\n"
	}
	return s
}

// unquoted is an address as net/mail gives it: without the quotes of its local part.
func unquoted(wire string) string {
	a, err := mail.ParseAddress("<" + wire + ">")
	if err != nil {
		return "refused by net/mail: " + wire
	}
	return a.Address
}

// checkParts reads the bodies with the standard library, to the octet.
func checkParts(t *testing.T, m *mail.Message, want map[string]string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "multipart/alternative" {
		got, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if body, ok := want[kind]; err != nil || !ok || len(want) != 1 || string(got) != body {
			t.Errorf("%s came back as %q, %v, want %q", kind, got, err, want)
		}
		return
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, kind := range []string{"text/plain", "text/html"} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if got := part.Header.Get("Content-Type"); got != kind+"; charset=utf-8" || len(part.Header) != 2 {
			t.Errorf("a part with the header %v, want %s", part.Header, kind)
		}
		got, err := io.ReadAll(quotedprintable.NewReader(part))
		// The last line end belongs to the boundary.
		if body, ok := want[kind]; err != nil || !ok || string(got) != strings.TrimSuffix(body, "\r\n") {
			t.Errorf("%s came back as %q, %v, want %q", kind, got, err, body)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("behind the last part: %v", err)
	}
	if rest, err := io.ReadAll(m.Body); err != nil || len(rest) > 0 {
		t.Errorf("behind the message: %q, %v", rest, err)
	}
}

// checkEnmime reads the bodies as a mail program does that forgives much.
func checkEnmime(t *testing.T, b []byte, want map[string]string) {
	t.Helper()
	root, err := enmime.ReadParts(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, part := range root.DepthMatchAll(func(p *enmime.Part) bool { return p.FirstChild == nil }) {
		got[part.ContentType] = string(part.Content)
	}
	for kind, body := range want {
		if canonical(strings.TrimRight(got[kind], "\r\n")) != strings.TrimRight(body, "\r\n") {
			t.Errorf("enmime: %s came back as %q, want %q", kind, got[kind], body)
		}
	}
	if len(got) != len(want) {
		t.Errorf("enmime found %d parts, want %d", len(got), len(want))
	}
}
