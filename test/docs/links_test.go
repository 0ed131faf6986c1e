package docs_test

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#+ +(.*)$`)
)

func TestEveryLinkOfThePagesLeadsSomewhere(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		for _, l := range links(page) {
			if problem := checkLink(page.path, l.text); problem != "" {
				t.Errorf("%s:%d: link to %s: %s", page.name, l.number, l.text, problem)
			}
		}
	}
}

// links returns the targets of a page's links. The text of a link may go over the end of a line.
func links(p page) []line {
	var text strings.Builder
	lines := prose(p)
	for _, l := range lines {
		text.WriteString(l.text + "\n")
	}
	var found []line
	for _, m := range link.FindAllStringSubmatchIndex(text.String(), -1) {
		before := strings.Count(text.String()[:m[2]], "\n")
		found = append(found, line{lines[before].number, text.String()[m[2]:m[3]]})
	}
	return found
}

// checkLink says what is wrong with a link of the page, or nothing. It asks no other machine: of an
// address on the web only the form is checked.
func checkLink(page, target string) string {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme != "":
		if u.Scheme != "https" || u.Host == "" {
			return "an address on the web must begin with https:// and name a host"
		}
		return ""
	}
	file := page
	if u.Path != "" {
		file = filepath.Join(filepath.Dir(page), filepath.FromSlash(u.Path))
	}
	text, err := os.ReadFile(file)
	if info, stat := os.Stat(file); stat == nil && info.IsDir() && u.Fragment == "" {
		return ""
	}
	if err != nil {
		return "there is no such file"
	}
	if u.Fragment != "" && !anchors(string(text))[u.Fragment] {
		return "the page has no such heading"
	}
	return ""
}

// anchors are the names that GitHub gives to the headings of a page.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(text) {
		if m := heading.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
			found[slug(m[1])] = true
		}
	}
	return found
}

func slug(heading string) string {
	heading = link.ReplaceAllStringFunc(heading, func(l string) string { return l[1:strings.Index(l, "]")] })
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// README names each page: a page that nothing leads to is not read.
func TestTheReadmeLeadsToEveryPage(t *testing.T) {
	t.Parallel()
	linked := map[string]bool{}
	all := pages(t)
	for _, page := range all {
		if page.name != "README.md" {
			continue
		}
		for _, l := range links(page) {
			path, _, _ := strings.Cut(l.text, "#")
			linked[filepath.Clean(path)] = true
		}
	}
	for _, page := range all {
		if page.name != "README.md" && page.name != "CHANGELOG.md" && !linked[page.name] {
			t.Errorf("README.md has no link to %s", page.name)
		}
	}
}

// Tables, and what programs write into a page, are as wide as they are.
func TestProseHasAtMostAHundredColumns(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		written := false // by a program
		for _, l := range prose(page) {
			switch {
			case strings.Contains(l.text, ": written by make "):
				written = true
			case strings.HasSuffix(l.text, ": end -->"):
				written = false
			}
			n := len([]rune(l.text))
			if n > 100 && !written && !strings.HasPrefix(l.text, "|") {
				t.Errorf("%s:%d: the line has %d columns: wrap prose at 100", page.name, l.number, n)
			}
		}
	}
}
