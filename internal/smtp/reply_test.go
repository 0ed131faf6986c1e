package smtp

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzReplyParser(f *testing.F) {
	for _, seed := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "250-2.0.0 a\r\n250 2.0.0 b\r\n", "550 5.1.1 no\r\n", "550 5.1.1\r\n", "550 5.1.1234 x\r\n",
		"550 4.1.1 x\r\n", "2x0\r\n", "250\n", "999 x\r\n", "250-a\r\n251 b\r\n", "250 a\rb\r\n", "\x00\xff\r\n", "250", "250-", "", "\r\n", "354\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var a answer
		if a.read(bufio.NewReaderSize(bytes.NewReader(input), maxReplyLine)) != nil {
			return
		}
		r := a.reply()
		if r.Code < 200 || r.Code > 599 || r.Code != int(input[0]-'0')*100+int(input[1]-'0')*10+int(input[2]-'0') {
			t.Errorf("code %d of %q", r.Code, input)
		}
		if !utf8.ValidString(r.Text) || strings.ContainsAny(r.Text, "\r\n\x00\x1b") || len(r.Text) > 3*maxReplyText {
			t.Errorf("text %q of %q", r.Text, input)
		}
		if e := r.Enhanced; e != (EnhancedCode{}) && (e[0] != r.Code/100 || e[1] > 999 || e[2] > 999) {
			t.Errorf("enhanced status code %v of %q", e, input)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"a@example.org", "", `"a b> x"@example.org`, `"a\"b"@example.org`, `"a"b@example.org`, "a b@example.org", "a@example.org> X", "jörg@example.org", "\u202ea@example.org", `a\ b@example.org`, `"\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		ascii, ok := checkPath(address)
		if !ok {
			return
		}
		if strings.ContainsAny(address, "\r\n\x00") || !utf8.ValidString(address) {
			t.Errorf("%q was taken", address)
		}
		if !strings.HasPrefix(address, `"`) && strings.ContainsAny(address, " <>") {
			t.Errorf("%q was taken", address)
		}
		if ascii != (strings.IndexFunc(address, func(r rune) bool { return r >= utf8.RuneSelf }) < 0) {
			t.Errorf("%q: ASCII %v", address, ascii)
		}
	})
}
