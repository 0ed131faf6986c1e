package render

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/inbucket/html2text"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// textFromHTML makes a text template from an HTML template: once, not for each message. Each action
// becomes a mark, the page is converted, and the marks become actions again. Definitions are
// converted one by one.
func textFromHTML(template string) (string, error) {
	tree := parse.New(FieldHTML)
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(template, "", "", trees); err != nil {
		return "", err
	}
	for _, each := range trees {
		authorsMarkup(each)
	}
	reader := newMarkupReader(FieldHTML, newTemplateText(template), trees)
	reader.plain = true
	if problem, _ := reader.read(FieldHTML); problem != nil {
		return "", errMoved
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		m := newMarks(template)
		m.flatten(trees[name].Root, nil)
		text, err := m.convert()
		if err != nil {
			return "", err
		}
		if name == FieldHTML {
			out.WriteString(text)
		} else {
			fmt.Fprintf(&out, "{{define %q}}%s{{end}}", name, text)
		}
	}
	return out.String(), nil
}

// textOfPage is the text of HTML that is no template; nil when it cannot be made.
func textOfPage(page []byte) (text []byte) {
	defer func() {
		if recover() != nil { // the page is not ours
			text = nil
		}
	}()
	if len(page) > maxPageText {
		return nil
	}
	m := marks{found: noMark, hiddenNames: map[string]bool{}}
	m.html.Write(page)
	plain, err := m.plain()
	if err != nil {
		return nil
	}
	return tidy([]byte(plain))
}

// maxPageText bounds the time that a text is made from a page in: a second or so.
const maxPageText = 1 << 20

func (m *marks) convert() (string, error) {
	text, err := m.plain()
	if err != nil {
		return "", err
	}
	if err := m.checkOrder(text); err != nil {
		return "", err
	}
	return m.restore(text), nil
}

// plain is the HTML as text, with the marks in it.
func (m *marks) plain() (string, error) {
	body := &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body}
	page := m.html.String()
	if m.found != noMark {
		page = m.inComments()
	}
	if costly(page) {
		return "", errCostly
	}
	// As a fragment of a body nothing is moved into a head or behind the end.
	nodes, err := html.ParseFragment(strings.NewReader(page), body)
	if err != nil {
		return "", errors.New("the HTML cannot be parsed")
	}
	for _, n := range nodes {
		body.AppendChild(n)
	}
	if m.found == noMark {
		m.sheets(body)
	}
	if m.prepare(body, false); m.failed != nil {
		return "", m.failed
	}
	text, err := html2text.FromHTMLNode(body)
	if err != nil {
		return "", errors.New("the HTML cannot be converted")
	}
	return cleanSpace(text), nil
}

// inComments puts each mark that stands in running text into a comment. Text between the rows of a
// table or list is moved in front of it by the parser, as the HTML standard wants; comments stay
// where they are. Of the comments that the author wrote, the conditions remain: editors put
// conditions into comments, and what is between two such comments obeys them. On the way it reads
// the style sheets.
func (m *marks) inComments() string {
	var out strings.Builder
	z := html.NewTokenizer(strings.NewReader(m.html.String()))
	var element atom.Atom // whose raw text is being read
	depth := 0            // conditions that are open
	for {
		kind := z.Next()
		raw := string(z.Raw())
		switch kind {
		case html.ErrorToken:
			out.WriteString(raw)
			return out.String()
		case html.TextToken:
			if element == atom.Style && depth == 0 {
				m.hideNames(raw)
			}
			if element == 0 {
				raw = m.found.ReplaceAllString(raw, "<!--$0-->")
			}
		case html.CommentToken, html.DoctypeToken:
			if m.found.MatchString(raw) {
				raw = m.conditions(raw)
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			switch a := atom.Lookup(name); a {
			case atom.Title, atom.Textarea, atom.Style, atom.Script, atom.Xmp, atom.Iframe,
				atom.Noembed, atom.Noframes, atom.Noscript:
				element = a
			}
		case html.EndTagToken:
			element = 0
		}
		depth += m.depth(raw)
		out.WriteString(raw)
	}
}

// tidy trims the lines of a text and removes repeated blank lines, in place. An empty branch of a
// template made from HTML leaves blank lines behind.
func tidy(b []byte) []byte {
	out := b[:0]
	blank := 0
	for line := range bytes.Lines(b) {
		line = bytes.Trim(bytes.TrimRight(line, "\r\n"), " \t")
		if len(line) == 0 {
			blank++
			continue
		}
		if blank > 0 && len(out) > 0 {
			out = append(out, '\n')
		}
		blank = 0
		out = append(append(out, line...), '\n')
	}
	return out
}
