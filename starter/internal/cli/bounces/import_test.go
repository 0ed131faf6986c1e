package bounces

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/internal/feedback/token"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
)

const key = "a-key-of-the-tests-of-bounces-import"

var anna = token.Recipient{Mailing: 7, Number: 12}

// address returns a bounce address of ours.
func address(t *testing.T) string {
	t.Helper()
	keys, err := token.ParseKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	return "bounces+" + keys.ForAddress(token.Bounce, anna) + "@news.example.com"
}

func failure(id, to string) string {
	return "From: MAILER-DAEMON@relay.example.net\nTo: " + to + "\nSubject: failure notice\nMessage-ID: <" + id +
		"@relay.example.net>\n\nI wasn't able to deliver your message.\n\n<anna@example.org>:\n" +
		"Sorry, no mailbox here by that name. (#5.1.1)\n\n"
}

// run runs `starter bounces import`.
func run(t *testing.T, stdin string, args ...string) (out, errors string, code exit.Code) {
	t.Helper()
	t.Setenv("DATABASE_URL", "")
	t.Setenv("DM_TOKEN_KEYS", key)
	var o, e bytes.Buffer
	cmd := Command(command.App{Streams: command.Streams{In: strings.NewReader(stdin), Out: &o, Err: &e}})
	cmd.SetArgs(append([]string{"import", "--dry-run"}, args...))
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	if err != nil {
		e.WriteString(command.TextOf(err))
	}
	return o.String(), e.String(), command.CodeOf(err)
}

func write(t *testing.T, name, data string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestALineOfJSONForEachMessageSaysWhatItIs(t *testing.T) {
	mbox := write(t, "in.mbox", "From a Mon Nov 30 09:00:00 2026\n"+failure("1", address(t))+
		"From b Mon Nov 30 09:01:00 2026\nFrom: Ben <ben@example.org>\nAuto-Submitted: auto-replied\nSubject: "+
		"away\n\nAway.\n")
	out, errors, code := run(t, "", "--output", "json", mbox)
	var lines []line
	d := json.NewDecoder(strings.NewReader(out))
	for d.More() {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if code != exit.Done || len(lines) != 2 || strings.Count(out, "\n") != 2 {
		t.Fatalf("exit code %d, printed %s%s", code, out, errors)
	}
	first, second := lines[0], lines[1]
	if first.File != mbox || first.Message != 1 || first.Class != "hard" || first.Enhanced != "5.1.1" ||
		!first.RecipientFound || first.MailingKey != anna.Mailing || first.Recipient != anna.Number {
		t.Errorf("the first message is %+v", first)
	}
	if second.Message != 2 || second.Class != "automatic" || second.RecipientFound {
		t.Errorf("the second message is %+v", second)
	}
	if strings.Contains(out+errors, "@") {
		t.Errorf("an address is printed: %s%s", out, errors)
	}
}

func TestATableCountsTheMessagesByClass(t *testing.T) {
	known := write(t, "known.eml", failure("1", address(t)))
	stranger := write(t, "stranger.eml", failure("2", "bounces@news.example.com"))
	person := write(t, "person.eml", "From: Ben <ben@example.org>\nSubject: Hi\n\nHello\n")
	keys, err := token.ParseKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	leave := write(t, "leave.eml", "From: Ben <ben@example.org>\nTo: u-"+keys.ForAddress(token.Unsubscribe, anna)+
		"@news.example.com\nSubject: Hi\n\nHello\n") // an opt-out, although nobody can read the text
	out, errors, code := run(t, failure("3", "x@example.com"), known, stranger, person, leave, "-")
	if code != exit.Done {
		t.Errorf("exit code %d: %s", code, errors)
	}
	rows := map[string]string{}
	for row := range strings.Lines(out) {
		if cells := strings.Fields(strings.NewReplacer("│", " ", "|", " ").Replace(row)); len(cells) == 3 {
			rows[cells[0]] = cells[1] + " " + cells[2]
		}
	}
	if rows["hard"] != "3 1" || rows["unknown"] != "1 0" || rows["complaint"] != "1 1" || len(rows) != 3 {
		t.Errorf("printed\n%s", out)
	}
	if !strings.Contains(errors, "person.eml: not understood") || strings.Contains(errors, "leave.eml") {
		t.Errorf("the message that is not understood is not named: %s", errors)
	}
}

func TestWhatCannotBeReadIsBadInput(t *testing.T) {
	one := write(t, "one.eml", failure("1", address(t)))
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no file":        {nil, "the file is missing"},
		"not there":      {[]string{one, "/nowhere/none.eml"}, "/nowhere/none.eml: no such file or directory"},
		"an empty file":  {[]string{write(t, "empty.eml", "")}, "there is no message in"},
		"an empty stdin": {[]string{"-"}, "there is no message in -"},
		"empty folder":   {[]string{t.TempDir()}, "the folder has no messages: name a Maildir"},
	} {
		if out, errors, code := run(t, "", c.args...); code != exit.BadInput || !strings.Contains(errors, c.want) ||
			out != "" {
			t.Errorf("%s: exit code %d, printed %s%s", name, code, out, errors)
		}
	}
}

func TestWithoutKeysNobodyIsFoundAndTheCommandSaysSo(t *testing.T) {
	one := write(t, "one.eml", failure("1", address(t)))
	t.Setenv("DM_TOKEN_KEYS", "")
	var o, e bytes.Buffer
	cmd := Command(command.App{Streams: command.Streams{In: strings.NewReader(""), Out: &o, Err: &e}})
	cmd.SetArgs([]string{"import", "--dry-run", "--output", "json", one})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(o.String(), `"recipient_found":false`) || !strings.Contains(e.String(), "DM_TOKEN_KEYS is "+
		"not set") {
		t.Errorf("printed %s%s", o.String(), e.String())
	}
}
