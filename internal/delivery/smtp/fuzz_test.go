package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"directmailer/internal/audience/address"
)

var (
	replyLine    = regexp.MustCompile(`(?s)^([2-5][0-9][0-9])([^0-9].*)?$`)
	enhancedText = regexp.MustCompile(`(?s)^([2-5])\.([0-9]{1,3})\.([0-9]{1,3})(?:[ \t]+(.*))?$`)
)

// plainReply reads a reply with regular expressions, as the comments of replyBuffer say. n is the
// length of the reply, or 0 if input does not begin with one. unclear is true if the reply has a
// code and no end.
func plainReply(input string) (code int, enhanced EnhancedCode, lines string, n int, unclear bool) {
	for n < len(input) {
		end := strings.IndexByte(input[n:], '\n') + 1
		if end == 0 {
			end, unclear = len(input)-n, true
		}
		line := strings.TrimRight(input[n:n+end], "\r\n")
		n += end
		parts := replyLine.FindStringSubmatch(line)
		switch {
		case code == 0 && parts == nil && strings.Trim(line, " \t") != "":
			return 0, enhanced, "", 0, false
		case code == 0 && parts == nil:
			continue
		case code != 0 && (parts == nil || parts[2] != "" && !strings.ContainsAny(parts[2][:1], " -\t")):
			lines += line + "\n"
			continue
		}
		if of, _ := strconv.Atoi(parts[1]); code == 0 {
			code = of
		} else if of/100 != code/100 {
			unclear = true
		}
		text, more := strings.CutPrefix(parts[2], "-")
		text = strings.TrimLeft(text, " \t")
		if e := enhancedText.FindStringSubmatch(text); e != nil && e[1] == strconv.Itoa(code/100) {
			text = strings.TrimLeft(e[4], " \t")
			if enhanced == (EnhancedCode{}) {
				for i := range enhanced {
					enhanced[i], _ = strconv.Atoi(e[i+1])
				}
			}
		}
		lines += text + "\n"
		if !more {
			return code, enhanced, lines, n, unclear
		}
	}
	if code == 0 {
		return 0, enhanced, "", 0, false
	}
	return code, enhanced, lines, n, true
}

// FuzzReplyParser compares the parser with plainReply, for any input and however it is divided into
// reads. Both must take the same octets: the replies after them belong to other commands.
func FuzzReplyParser(f *testing.F) {
	for _, seed := range []string{
		"250 ok\r\n", "250-a\r\n250 b\r\n", "250-2.0.0 a\r\n250 2.0.0 b\r\n", "550 5.1.1 no\r\n", "550 5.1.1\r\n",
		"550 5.1.1234 x\r\n", "550 4.1.1 x\r\n", "2x0\r\n", "250-a\r\n251-b\r\n550 c\r\n",
		"250\n", "999 x\r\n", "250-a\r\n251 b\r\n", "250 a\rb\r\n", "\x00\xff\r\n", "250", "250-", "", "\r\n",
		"354\r\n", "250 ok\r\n354 go\r\n250 queued\r\n", "250-a\r\n\r\ntext\r\n250 b\r\n\r\n250 c\r\n",
		"250-\r\n250-PIPELINING\r\n250-SIZE 10\r\n250-AUTH=LOGIN\r\n250 AUTH PLAIN\r\n250 2.1.0 ok\r\n",
		"550 005.1.1 x\r\n", "550-5.1.1   a\n550  5.1.2 b\r\r\n", "250  \r\n", "250\tok\r\n", "250\t2.0.0\tok\r\n",
		"550 \u202e\u2028\u0085\x1b[2J\xc3\r\n", strings.Repeat("250-x\n", 200) + "250 y\n",
		"250 " + strings.Repeat("x", readerSize-5) + "\n", "250 " + strings.Repeat("x", 3*readerSize) + "\n250 b\n",
		"550 " + strings.Repeat("é", maxReplyText) + "\r\n", "2500 x\r\n", "250-a\r\n2500 x\r\n250 b\r\n", "250:x\r\n",
		"600 x\r\n", "199 x\r\n", "250+x\r\n", "354 3.0.0 go\r\n", "421 4.3.2\r\n421 4.3.2\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		for name, from := range map[string]io.Reader{"whole": bytes.NewReader(input),
			"by octets": iotest.OneByteReader(bytes.NewReader(input))} {
			readAllReplies(t, name, string(input), from)
		}
	})
}

func readAllReplies(t *testing.T, name, input string, from io.Reader) {
	t.Helper()
	counted := &countingReader{from: from}
	r := bufio.NewReaderSize(counted, readerSize)
	var b replyBuffer // reused for each reply, as a connection does
	for rest := input; ; {
		code, enhanced, lines, n, unclear := plainReply(rest)
		if err := b.read(r); (err == nil) != (n > 0) {
			t.Fatalf("%s: %q: the parser says %v, the plain one takes %d octets", name, rest, err, n)
		} else if err != nil {
			if err != errReply && err != io.EOF {
				t.Errorf("%s: %q: %v", name, rest, err)
			}
			return
		}
		rest = rest[n:]
		if left := len(input) - counted.n + r.Buffered(); left != len(rest) {
			t.Fatalf("%s: after the reply there are %d octets left, want %d", name, left, len(rest))
		}
		same := string(b.lines) == lines || len(input) > readerSize // only the beginning of a long line is kept
		if b.code != code || b.enhanced != enhanced || !same || b.unclear != unclear || len(b.lines) > maxReplyKept {
			t.Fatalf("%s: got %d %v %q %v, want %d %v %q %v", name, b.code, b.enhanced, b.lines, b.unclear, code,
				enhanced, lines, unclear)
		}
		checkReply(t, b.copy())
		readExtensions(b.lines)
	}
}

func checkReply(t *testing.T, r Reply) {
	t.Helper()
	if r.Code < 200 || r.Code > 599 {
		t.Errorf("code %d", r.Code)
	}
	if !utf8.ValidString(r.Text) || strings.ContainsFunc(r.Text, unicode.IsControl) ||
		strings.ContainsAny(r.Text, "\u2028\u2029") || len(r.Text) > maxReplyText+2 ||
		r.Text != strings.TrimSpace(r.Text) {
		t.Errorf("text %q", r.Text)
	}
	if e := r.Enhanced; e != (EnhancedCode{}) && (e[0] != r.Code/100 || e[1] > 999 || e[2] > 999) {
		t.Errorf("enhanced status code %v of %d", e, r.Code)
	}
}

type countingReader struct {
	from io.Reader
	n    int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += n
	return n, err
}

// FuzzPath checks that an address in MAIL or RCPT is one path and nothing else (RFC 5321, section
// 4.1.2), for a server that parses quoted local parts and for one that does not.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"a@example.org", "", `"a b> x"@example.org`, `"a\"b"@example.org`, `"a"b@example.org`,
		"a b@example.org", "a@example.org> X", "jörg@example.org", "\u202ea@example.org", `a\ b@example.org`, `"\`,
		"a@example.org>\r\nRCPT TO:<b@example.org", `"x> NOTIFY=NEVER"@example.com`, `"\>"@example.org`, `"a"@b"@c`,
		"<a@b.example>", "a@b.example\x00", "\"\u2028\"@example.org"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		ascii, ok := checkPath(path)
		if !ok {
			return
		}
		if strings.ContainsFunc(path, unicode.IsControl) || !utf8.ValidString(path) || len(path) > maxPath {
			t.Errorf("%q was taken", path)
		}
		if !strings.HasPrefix(path, `"`) && strings.ContainsAny(path, " <>") {
			t.Errorf("%q was taken", path)
		}
		if ascii != (strings.IndexFunc(path, func(r rune) bool { return r >= utf8.RuneSelf }) < 0) {
			t.Errorf("%q: ASCII %v", path, ascii)
		}
		if got, err := argument(string(appendRcpt(nil, &Message{To: path}))); err != nil || got != path {
			t.Errorf("%q is read as %q, %v", path, got, err)
		}
	})
}

// FuzzAddressInCommand checks that every address that a list accepts can be written in an SMTP
// command, and is read there as it was.
func FuzzAddressInCommand(f *testing.F) {
	for _, seed := range []string{"ada@example.com", `"x> NOTIFY=NEVER"@example.com`, `"a\"\\b"@example.com`,
		"jürgen@bücher.example", "a@ａ．example", "\u212a@example.com", `"\ "@example.com`,
		strings.Repeat("l", 64) + "@" + strings.Repeat("d.", 90) + "example", `"` + strings.Repeat(`\"`, 31) +
			`"@example.org`, "\u1680@example.org", "\"\u3000\"@example.org", `"@"@example.org`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := address.Parse(in)
		if err != nil {
			return
		}
		ascii, ok := checkPath(a.String())
		if !ok || ascii == a.NeedsUTF8() {
			t.Errorf("%q is the address %q; SMTP: ASCII %v, taken %v", in, a, ascii, ok)
		}
		if got, err := argument(string(appendRcpt(nil, &Message{To: a.String()}))); err != nil || got != a.String() {
			t.Errorf("%q is read as %q, %v", a, got, err)
		}
	})
}

// argument reads a RCPT command as RFC 5321 says: the path ends at the first > outside quotes, and
// only the end of the line follows.
func argument(command string) (string, error) {
	line, ok := strings.CutSuffix(command, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\n") {
		return "", errors.New("is not one line")
	}
	s, ok := strings.CutPrefix(line, "RCPT TO:<")
	if !ok {
		return "", errors.New("is no RCPT")
	}
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == '>':
			if i+1 < len(s) {
				return s[:i], errors.New("has something behind the path")
			}
			return s[:i], nil
		case !quoted && (s[i] <= ' ' || s[i] == '<'):
			return "", errors.New("has a blank or a bracket in the path")
		}
	}
	return "", errors.New("does not end")
}
