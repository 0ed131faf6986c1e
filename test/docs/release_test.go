package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The linker ignores -X for a variable that does not exist, and the programs then print no version.
func TestTheVersionThatABuildSetsExists(t *testing.T) {
	t.Parallel()
	flag := regexp.MustCompile(`-X (\S+)\.(\w+)=`)
	for _, name := range []string{".goreleaser.yaml", "Dockerfile"} {
		text := read(t, name)
		if m := regexp.MustCompile(`stamp=(\S+)`).FindStringSubmatch(text); m != nil {
			text = strings.ReplaceAll(text, "$stamp", m[1])
		}
		found := flag.FindAllStringSubmatch(text, -1)
		if len(found) != 2 {
			t.Errorf("%s sets %d variables, want the version and the revision", name, len(found))
		}
		for _, m := range found {
			if !declares(t, strings.TrimPrefix(m[1], "directmailer/"), m[2]) {
				t.Errorf("%s sets %s.%s, which no package declares", name, m[1], m[2])
			}
		}
	}
}

// declares tells whether a Go file of the folder has a variable of the name that holds a text.
func declares(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`(?m)^(?:var |\t)` + name + `\s+string$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if variable.Match(text) {
			return true
		}
	}
	return false
}
