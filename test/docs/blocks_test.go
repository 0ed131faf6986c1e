package docs_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// block is a fenced block of commands, with what the comments above it tell the test:
//
//	<!-- test: skip REASON -->       it cannot be run here
//	<!-- test: exit CODE, REASON --> its last command ends with this code
//	<!-- test: setup KIND ID -->     what must be there before (see setup)
type block struct {
	page   string
	number int // line of the fence
	text   string
	skip   string
	code   int
	setup  [][2]string
}

var directive = regexp.MustCompile(`^<!-- test: (skip|exit|setup) (.+) -->$`)

// blocks returns the blocks of commands of a page.
func blocks(p page) ([]block, error) {
	var all []block
	var next block
	var open *block
	other := false // in a block of another language
	for i, text := range p.lines {
		switch {
		case open != nil && text == "```":
			all, open = append(all, *open), nil
		case open != nil:
			open.text += text + "\n"
		case other:
			other = text != "```"
		case text == "```sh":
			next.page, next.number = p.name, i+1
			b := next
			open, next = &b, block{}
		case strings.HasPrefix(text, "```"):
			other = true
		case strings.HasPrefix(text, "<!-- test:"):
			if err := next.instruct(text); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", p.name, i+1, err)
			}
		}
	}
	return all, nil
}

// instruct takes one comment.
func (b *block) instruct(text string) error {
	m := directive.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("%s is not an instruction that the test knows", text)
	}
	switch m[1] {
	case "skip":
		b.skip = m[2]
	case "exit":
		code, reason, _ := strings.Cut(m[2], ", ")
		var err error
		if b.code, err = strconv.Atoi(code); err != nil || reason == "" {
			return fmt.Errorf("%s must be: exit CODE, REASON", text)
		}
	case "setup":
		kind, id, ok := strings.Cut(m[2], " ")
		if !ok {
			return fmt.Errorf("%s must be: setup KIND ID", text)
		}
		b.setup = append(b.setup, [2]string{kind, id})
	}
	return nil
}

func TestInstructionsToTheTestAreUnderstood(t *testing.T) {
	t.Parallel()
	text := "<!-- test: setup running a -->\n<!-- test: exit 3, rejected rows -->\n" +
		"```sh\none\ntwo\n```\n```json\n```sh\n```\n```sh\nthree\n```"
	found, err := blocks(page{name: "x.md", lines: strings.Split(text, "\n")})
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	b := found[0]
	if b.text != "one\ntwo\n" || b.code != 3 || b.number != 3 || len(b.setup) != 1 ||
		b.setup[0] != [2]string{"running", "a"} {
		t.Errorf("%+v", b)
	}
	if b := found[1]; b.text != "three\n" || b.code != 0 || b.setup != nil {
		t.Errorf("%+v", b)
	}
	for _, wrong := range []string{"jump high", "exit three, because", "exit 3", "setup x"} {
		wrong = "<!-- test: " + wrong + " -->"
		if _, err := blocks(page{name: "x.md", lines: []string{wrong}}); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
}
