package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// The most columns of a line. A tab counts as one.
const (
	codeColumns  = 120
	proseColumns = 100
)

func TestNoLineIsLongerThanCONTRIBUTINGAllows(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		written := false // by a program, see docs/reliability.md
		for _, l := range prose(p) {
			if strings.HasPrefix(l.text, "<!-- ") {
				written = strings.Contains(l.text, "written by") || written && !strings.HasSuffix(l.text, ": end -->")
			}
			if written || strings.HasPrefix(l.text, "|") {
				continue
			}
			if columns := utf8.RuneCountInString(l.text); columns > proseColumns {
				t.Errorf("%s:%d has %d columns: wrap prose at %d", p.name, l.number, columns, proseColumns)
			}
		}
	}
	for _, name := range goFiles(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if columns, most := utf8.RuneCountInString(line), mostColumns(line); columns > most {
				t.Errorf("%s:%d has %d columns: at most %d", name, i+1, columns, most)
			}
		}
	}
}

func TestColumnsOfCommentsTablesAndCode(t *testing.T) {
	t.Parallel()
	for line, most := range map[string]int{
		"\t// A comment":        proseColumns,
		"// A comment":          proseColumns,
		"\tx := 1 // a comment": codeColumns,
		"//\tmade like a table": codeColumns,
		"//go:generate x":       codeColumns,
		"":                      codeColumns,
	} {
		if got := mostColumns(line); got != most {
			t.Errorf("%q may have %d columns, want %d", line, got, most)
		}
	}
}

// mostColumns returns how many columns a line of Go code may have. A comment that is laid out by
// hand is measured as code.
func mostColumns(line string) int {
	if strings.HasPrefix(strings.TrimLeft(line, "\t"), "// ") {
		return proseColumns
	}
	return codeColumns
}

// goFiles returns the Go files of the checkout.
func goFiles(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".") && path != root
		if entry.IsDir() && (hidden || entry.Name() == "bin" || entry.Name() == "node_modules") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".go" {
			names = append(names, path)
		}
		return nil
	})
	if err != nil || len(names) < 100 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	return names
}
