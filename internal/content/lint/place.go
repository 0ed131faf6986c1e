package lint

import (
	"html"
	"regexp"
	"strings"
	"unicode/utf8"

	"directmailer/internal/content"
	"directmailer/internal/content/render"
	"directmailer/workflows"
)

// spot is where a finding is: in the message, and, if it is known, in the template.
type spot struct {
	where        string
	field        string
	line, column int
	literal      bool // the template holds the value itself
}

// source is the author's text, in which the places of findings are looked up.
type source struct {
	html, text string
	literal    map[string]attribute // those without an action, by their value
	computed   []attribute          // those with an action
}

// attribute is the address of a link or an image as the template has it.
type attribute struct {
	value   string // as it is written
	literal string // what stands before the first action, unescaped
	action  bool   // there is an action in it
	at      int    // its octet in the template
}

// addressAttribute finds the addresses of links and images in a template. An action in quotes may
// hold quotes.
var addressAttribute = regexp.MustCompile(
	`(?is)\b(?:href|src)\s*=\s*(?:"((?:\{\{.*?\}\}|[^"])*)"|'((?:\{\{.*?\}\}|[^'])*)'|((?:\{\{.*?\}\}|[^\s>"'])+))`)

func newSource(in workflows.Input) source {
	s := source{text: in.Content.Text, literal: map[string]attribute{}}
	if content.HasPages(in) {
		return s
	}
	s.html = in.Content.HTML
	for _, found := range addressAttribute.FindAllStringSubmatchIndex(s.html, -1) {
		for group := 2; group < len(found); group += 2 {
			if found[group] < 0 {
				continue
			}
			a := attribute{value: s.html[found[group]:found[group+1]], at: found[group]}
			before := a.value
			if !in.Content.Static {
				before, _, a.action = strings.Cut(a.value, "{{")
			}
			a.literal = html.UnescapeString(before)
			if _, there := s.literal[a.literal]; a.action {
				s.computed = append(s.computed, a)
			} else if !there {
				s.literal[a.literal] = a
			}
		}
	}
	return s
}

// address returns the place of a link or image with this rendered address. what is "link" or
// "image", and n its number in the message. The spot quotes the template, never the rendered
// address.
func (s *source) address(what string, n int, rendered string) spot {
	at := spot{where: what + " " + number(n)}
	if a, ok := s.literal[rendered]; ok {
		return s.at(&a, what)
	}
	var best *attribute
	ambiguous := false
	for i := range s.computed {
		a := &s.computed[i]
		switch {
		case !strings.HasPrefix(rendered, a.literal):
			continue
		case best == nil || len(a.literal) > len(best.literal):
			best, ambiguous = a, false
		case len(a.literal) == len(best.literal) && a.value != best.value:
			ambiguous = true
		}
	}
	if best == nil || ambiguous {
		return at
	}
	return s.at(best, what)
}

func (s *source) at(a *attribute, what string) spot {
	line, column := position(s.html, a.at)
	shown := what
	if value := strings.TrimSpace(a.value); value != "" {
		shown += " " + shorten(value)
	}
	return spot{where: shown, field: render.FieldHTML, line: line, column: column, literal: !a.action}
}

// textual returns the place of an address that stands in the text part.
func (s *source) textual(n int, rendered string) spot {
	i := strings.Index(s.text, rendered)
	if i < 0 {
		return spot{where: "link " + number(n) + " of the text", field: render.FieldText}
	}
	line, column := position(s.text, i)
	return spot{where: "link " + shorten(rendered), field: render.FieldText, line: line, column: column, literal: true}
}

// position returns the line and column of an octet.
func position(text string, at int) (line, column int) {
	before := text[:at]
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// shorten cuts an author's text for one line.
func shorten(s string) string {
	const most = 80
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return s
}
