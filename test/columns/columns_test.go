// Package columns_test holds the rule of CONTRIBUTING.md for the length of lines. `make lint` runs
// it.
package columns_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// root is the checkout.
const root = "../.."

// The most columns of a line. A tab counts as one.
const (
	codeColumns  = 120
	proseColumns = 100
)

func TestNoLineOfGoIsLongerThanCONTRIBUTINGAllows(t *testing.T) {
	t.Parallel()
	for _, name := range goFiles(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if columns, most := utf8.RuneCountInString(line), mostColumns(line); columns > most {
				t.Errorf("%s:%d has %d columns: at most %d", strings.TrimPrefix(name, root+"/"), i+1, columns, most)
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
