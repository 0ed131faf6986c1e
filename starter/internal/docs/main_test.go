package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// committed is the folder of the reference in the checkout.
const committed = "../../../docs/cli"

func TestTheReferenceIsWhatTheCommandsSay(t *testing.T) {
	dir := t.TempDir()
	if err := writeMarkdown(dir); err != nil {
		t.Fatal(err)
	}
	want, got := pages(t, dir), pages(t, committed)
	for name, text := range want {
		if got[name] != text {
			t.Errorf("docs/cli/%s is not what the commands say: run `make docs`", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("docs/cli/%s belongs to no command: run `make docs`", name)
		}
	}
}

func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no pages in %s: %v", dir, err)
	}
	all := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = string(text)
	}
	return all
}

func TestEveryPageOfTheIndexIsThere(t *testing.T) {
	all := pages(t, committed)
	for line := range strings.Lines(all["README.md"]) {
		_, rest, ok := strings.Cut(line, "](")
		if name, _, _ := strings.Cut(rest, ")"); ok && all[name] == "" {
			t.Errorf("the index names %s, and there is no such page", name)
		}
	}
}

func TestManPagesAreWritten(t *testing.T) {
	dir := t.TempDir()
	if err := writeMan(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "starter-mailing-start.1"))
	if err != nil || !strings.Contains(string(page), "--dry-run") && !strings.Contains(string(page), `\-\-dry-run`) {
		t.Errorf("%v: %s", err, page)
	}
}

func TestIndentedLinesBecomeCodeBlocks(t *testing.T) {
	got := fenced("Text:\n\n  one\n\n  two\n\nMore.")
	if want := "Text:\n\n```\n  one\n\n  two\n```\n\nMore."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
