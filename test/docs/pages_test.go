// Package docs_test shows that README.md and the pages below docs say what is true: each command in
// them is run, each link leads somewhere, and the references name every variable and every field.
package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the checkout.
const root = "../.."

// page is one document.
type page struct {
	name  string // as seen from the checkout
	path  string
	lines []string
}

// pages returns all documents that people write. A program writes those in docs/cli.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page{name, path, strings.Split(string(text), "\n")})
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

// line is a line of a page with its number, from 1.
type line struct {
	number int
	text   string
}

// prose returns the lines outside of fenced blocks.
func prose(p page) []line {
	var out []line
	fenced := false
	for i, text := range p.lines {
		if strings.HasPrefix(strings.TrimSpace(text), "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			out = append(out, line{i + 1, text})
		}
	}
	return out
}

// read returns one page of the checkout as text.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
