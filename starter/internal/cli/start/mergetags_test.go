package start

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"directmailer/starter/internal/cli/command"
)

func TestMergeTagsOfOtherSystemsAreWarnedOf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "letter.yaml")
	letter := "from: news@example.com\nsubject: Hello *|FNAME|*\nlist: {name: people}\n" +
		"content:\n  text: |\n    Dear %%first_name%%,\n    {{.first_name}}\n"
	if err := os.WriteFile(path, []byte(letter), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	a := app{command.App{Streams: command.Streams{Err: &said}}}
	p, err := a.readMailing(t.Context(), path, "spring")
	if err != nil || said.String() != "" {
		t.Fatal(err, said.String())
	}
	a.warnOfMergeTags(p)
	want := "warning: " + path + ":2:10: subject: \"*|FNAME|*\" looks like a merge tag of another system " +
		"and is sent as it is: a field is written {{.first_name}}\n" +
		"warning: " + path + ":6:10: content.text: \"%%first_name%%\" looks like a merge tag of another system " +
		"and is sent as it is: a field is written {{.first_name}}\n"
	if said.String() != want {
		t.Errorf("said:\n%swant:\n%s", said.String(), want)
	}
}
