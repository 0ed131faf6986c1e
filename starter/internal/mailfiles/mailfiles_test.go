package mailfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, folder, name, data string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// all returns the messages that are read: file, number, size, data.
func all(t *testing.T, r *Reader) (messages []string) {
	t.Helper()
	err := r.Each(t.Context(), func(m Message) error {
		messages = append(messages, fmt.Sprintf("%s %d %d %q", filepath.Base(m.File), m.Number, m.Size, m.Data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func open(t *testing.T, stdin string, names ...string) *Reader {
	t.Helper()
	r, err := Open(names, strings.NewReader(stdin), 40)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const mbox = "From a@example.org Mon Nov 30 09:00:00 2026\nSubject: 1\n\nFrom here on\n\n" +
	"From me to you: no date\n\nFrom b@example.org Mon Nov 30 09:01:00 2026\nSubject: 2\n\n" +
	"text\n>From c Mon Nov 30 09:01:00 2026\n\nFrom - Mon Nov 30 09:02:00 2026\nSubject: 3\n"

func TestMessagesAreReadFromEveryKindOfFile(t *testing.T) {
	folder := t.TempDir()
	one := write(t, folder, "one.eml", "Subject: 1\n\ntext\n")
	left := write(t, folder, "left.eml",
		"From a Mon Nov 30 09:00:00 2026\nSubject: 1\n\nFrom b Mon Nov 30 09:00:00 2026\nX: y\n")
	many := write(t, folder, "many.mbox", mbox)
	windows := write(t, folder, "windows.mbox", strings.ReplaceAll(mbox, "\n", "\r\n"))
	write(t, folder, "maildir/new/2.a", "Subject: new\n")
	write(t, folder, "maildir/cur/1.b:2,S", "Subject: cur\n")
	write(t, folder, "maildir/tmp/3.c", "Subject: not there yet\n")
	write(t, folder, "maildir/dovecot-index", "no message\n")
	write(t, folder, "plain/b.eml", "Subject: b\n")
	write(t, folder, "plain/a.eml", "Subject: a\n")
	write(t, folder, "plain/.hidden", "Subject: hidden\n")
	write(t, folder, "plain/sub/c.eml", "Subject: c\n")
	empty := write(t, folder, "empty.eml", "")
	for name, c := range map[string]struct {
		stdin string
		names []string
		want  []string
	}{
		"one message": {names: []string{one}, want: []string{`one.eml 1 17 "Subject: 1\n\ntext\n"`}},
		"a message out of an mbox": {names: []string{left},
			want: []string{`left.eml 1 81 "From a Mon Nov 30 09:00:00 2026\nSubject:"`}},
		"mbox": {names: []string{many}, want: []string{
			`many.mbox 1 95 "From a@example.org Mon Nov 30 09:00:00 2"`,
			`many.mbox 2 95 "From b@example.org Mon Nov 30 09:01:00 2"`,
			`many.mbox 3 43 "From - Mon Nov 30 09:02:00 2026\nSubject:"`}},
		"mbox with CRLF": {names: []string{windows}, want: []string{
			`windows.mbox 1 102 "From a@example.org Mon Nov 30 09:00:00 2"`,
			`windows.mbox 2 101 "From b@example.org Mon Nov 30 09:01:00 2"`,
			`windows.mbox 3 45 "From - Mon Nov 30 09:02:00 2026\r\nSubject"`}},
		"Maildir": {names: []string{filepath.Join(folder, "maildir")}, want: []string{
			`2.a 1 13 "Subject: new\n"`, `1.b:2,S 1 13 "Subject: cur\n"`}},
		"folder": {names: []string{filepath.Join(folder, "plain")}, want: []string{
			`a.eml 1 11 "Subject: a\n"`, `b.eml 1 11 "Subject: b\n"`}},
		"standard input": {stdin: "Subject: x\n", names: []string{"-"}, want: []string{`- 1 11 "Subject: x\n"`}},
		"standard input, an mbox": {stdin: mbox, names: []string{"-"}, want: []string{
			`- 1 95 "From a@example.org Mon Nov 30 09:00:00 2"`, `- 2 95 "From b@example.org Mon Nov 30 09:01:00 2"`,
			`- 3 43 "From - Mon Nov 30 09:02:00 2026\nSubject:"`}},
		"nothing": {names: []string{empty, "-"}},
	} {
		if got := all(t, open(t, c.stdin, c.names...)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: read\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestALongMessageIsSkippedAndTheNextOneRead(t *testing.T) {
	long := "From a Mon Nov 30 09:00:00 2026\nSubject: long\n\n" + strings.Repeat("x", 3<<20) +
		"\n\nFrom b Mon Nov 30 09:00:00 2026\nSubject: b\n"
	r := open(t, long, "-")
	got := all(t, r)
	if len(got) != 2 || !strings.HasSuffix(got[1], `Subject: "`) && !strings.Contains(got[1], "Subject") {
		t.Errorf("read %q", got)
	}
	if read, _ := r.Done(); read != int64(len(long)) {
		t.Errorf("%d octets of %d are counted", read, len(long))
	}
}

func TestAFileThatIsNotThereIsAnErrorBeforeTheFirstMessage(t *testing.T) {
	folder := t.TempDir()
	one := write(t, folder, "one.eml", "Subject: 1\n")
	_, err := Open([]string{one, filepath.Join(folder, "none.eml")}, nil, 40)
	var path *fs.PathError
	if !errors.As(err, &path) || !strings.HasSuffix(path.Path, "none.eml") {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(filepath.Join(folder, "bare"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err = Open([]string{filepath.Join(folder, "bare")}, nil, 40); !errors.As(err, &path) {
		t.Errorf("a folder without messages: %v", err)
	}
}

func TestTheEndOfTheContextAndAnErrorEndTheReading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := open(t, mbox, "-").Each(ctx, func(Message) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("%v after %d messages", err, n)
	}
	err = open(t, mbox, "-").Each(t.Context(), func(Message) error { return io.ErrClosedPipe })
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func TestTheEndOfTheContextEndsTheWaitForAPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := open(t, "", name).Each(ctx, func(Message) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(mbox)
	f.Add(strings.ReplaceAll(mbox, "\n", "\r\n"))
	f.Fuzz(func(t *testing.T, data string) {
		r, err := Open([]string{"-"}, strings.NewReader(data), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var joined strings.Builder
		err = r.Each(t.Context(), func(m Message) error {
			if int64(len(m.Data)) != m.Size {
				t.Errorf("%d octets of %d", len(m.Data), m.Size)
			}
			joined.Write(m.Data)
			return nil
		})
		if err != nil || joined.String() != data {
			t.Errorf("%v: the messages are not the file", err)
		}
	})
}
