package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/internal/content/dkim"
	"directmailer/starter/internal/exit"
)

// dkimAnswer is what `starter dkim` prints as JSON.
type dkimAnswer struct {
	Domain, Selector, Algorithm, File string
	Bits                              int
	Record                            struct{ Name, Type, Value string }
	ZoneLine                          string `json:"zone_line"`
	Setting                           string `json:"dm_dkim"`
}

func TestANewKeyIsOneThatAWorkerTakes(t *testing.T) {
	for _, algorithm := range []string{"rsa", "ed25519"} {
		file := filepath.Join(t.TempDir(), "a key.pem")
		args := []string{"dkim", "new", "News.Example.com", "--algorithm", algorithm, "--selector", "A1",
			"--output-file", file}
		code, out, errs := run(t, append(args, "--output", "json")...)
		var made dkimAnswer
		if err := json.Unmarshal([]byte(out), &made); code != exit.Done || err != nil || errs != "" {
			t.Fatalf("%s: exit code %d, %v: %s%s", algorithm, code, err, out, errs)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || made.File != file {
			t.Errorf("%s: %v, %v, %s", algorithm, info, err, made.File)
		}
		var entries dkim.Entries
		if err := entries.UnmarshalText([]byte(made.Setting)); err != nil {
			t.Fatalf("%s: %s: %v", algorithm, made.Setting, err)
		}
		keys, warnings, err := entries.Load()
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%s: %v, %v", algorithm, warnings, err)
		}
		record := keys.For("news.example.com").Keys()[0].Record()
		if made.Record.Name != "a1._domainkey.news.example.com" || made.Record.Name != record.Name ||
			made.Record.Type != "TXT" || made.Record.Value != record.Value || made.Algorithm != algorithm {
			t.Errorf("%s: %+v", algorithm, made)
		}
		// The same again, from the file.
		t.Setenv("DM_DKIM", made.Setting)
		if _, again, _ := run(t, "dkim", "record", file, "--output", "json"); again != out {
			t.Errorf("%s: the record of the file is %s, not %s", algorithm, again, out)
		}
		t.Setenv("DM_DKIM", "")
		_, again, _ := run(t, "dkim", "record", file, "--domain", "news.example.com", "--selector", "a1", "--output", "json")
		if again != out {
			t.Errorf("%s: the record of the file is %s, not %s", algorithm, again, out)
		}
		_, nameless, _ := run(t, "dkim", "record", file)
		if !strings.Contains(nameless, "SELECTOR._domainkey.DOMAIN") || strings.Contains(nameless, "DM_DKIM") {
			t.Errorf("%s: without names: %s", algorithm, nameless)
		}
		code, _, errs = run(t, args...)
		if code != exit.BadInput || !strings.Contains(errs, "exists already, and a key is not replaced") {
			t.Errorf("%s: a second key of that name: exit code %d: %s", algorithm, code, errs)
		}
		if _, _, err := entries.Load(); err != nil {
			t.Errorf("%s: the key was replaced: %v", algorithm, err)
		}
	}
}

func TestANewKeyIsNotWrittenThroughALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	code, _, errs := run(t, "dkim", "new", "example.com", "--algorithm", "ed25519", "--output-file",
		filepath.Join(dir, "key.pem"))
	if _, err := os.Stat(filepath.Join(dir, "elsewhere")); code != exit.BadInput || err == nil {
		t.Errorf("exit code %d, %v: %s", code, err, errs)
	}
}

func TestBadUsageOfTheKeyCommandsIsExplained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"new"}, "the domain is missing"},
		{[]string{"new", "a b"}, `"a b" is not a domain`},
		{[]string{"new", "com"}, `"com" is not a domain`},
		{[]string{"new", "example.com", "--selector", "a_b"}, `"a_b" is not a selector`},
		{[]string{"new", "example.com", "--algorithm", "dsa"}, "is not rsa or ed25519"},
		{[]string{"new", "example.com", "--output-file", filepath.Join(dir, "no", "k")}, "no such file or directory"},
		{[]string{"record"}, "the key's file is missing"},
		{[]string{"record", text}, "its file holds no PEM block"},
		{[]string{"record", filepath.Join(dir, "none")}, "cannot be read: no such file or directory"},
		{[]string{"record", text, "--domain", "example.com"}, "both --domain and --selector"},
	} {
		code, out, errs := run(t, append([]string{"dkim"}, c.args...)...)
		if code != exit.BadInput || out != "" || !strings.Contains(errs, c.want) || strings.Contains(errs, "MIIEv") {
			t.Errorf("%v: exit code %d: %s%s", c.args, code, out, errs)
		}
	}
}
