package render

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// sheets reads the style sheets of a page without marks.
func (m *marks) sheets(n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.DataAtom == atom.Style {
			m.hideNames(textOf(c))
		}
		m.sheets(c)
	}
}

// glue is put at both ends of a text: html2text puts a space between two texts unless one is there.
// cleanSpace takes it away again.
const glue = "\v"

// prepare makes the tree one that html2text converts well: marks back in the text, texts with
// exactly the space that is between them, blocks it does not know as those it knows, no invisible
// parts.
func (m *marks) prepare(n *html.Node, pre bool) {
	var next *html.Node
	for c := n.FirstChild; c != nil; c = next {
		next = c.NextSibling
		switch c.Type {
		case html.CommentNode:
			if mark := m.found.FindString(c.Data); mark != "" && mark == c.Data {
				c.Type = html.TextNode
			} else {
				n.RemoveChild(c)
			}
		case html.ElementNode:
			switch c.DataAtom {
			case atom.Title, atom.Style, atom.Script, atom.Head, atom.Meta, atom.Link, atom.Template:
				m.remove(n, c)
			default:
				if m.hidden(c) {
					m.remove(n, c)
				}
			}
		}
	}
	joinTexts(n)
	for c := n.FirstChild; c != nil; c = next {
		next = c.NextSibling
		if c.Type == html.TextNode {
			wrapText(n, c, pre)
			continue
		}
		if c.DataAtom == atom.A {
			m.prepareLink(c)
		}
		m.prepare(c, pre || c.DataAtom == atom.Pre)
		asKnownBlock(n, c)
	}
}

// remove takes an element away. A condition must not begin or end in it: the other half would go
// too.
func (m *marks) remove(parent, n *html.Node) {
	parent.RemoveChild(n)
	if m.found == noMark {
		return
	}
	open := map[int]int{}
	note := func(text string) {
		for _, mark := range m.found.FindAllString(text, -1) {
			switch a := m.action(mark); a.kind {
			case opening:
				open[a.at.structure]++
			case closing:
				open[a.at.structure]--
			}
		}
	}
	for each := range n.Descendants() {
		note(each.Data)
		for _, a := range each.Attr {
			note(a.Key)
			note(a.Val)
		}
	}
	for _, balance := range open {
		if balance != 0 {
			m.failed = errMoved
		}
	}
}

func joinTexts(n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		for c.Type == html.TextNode && c.NextSibling != nil && c.NextSibling.Type == html.TextNode {
			c.Data += c.NextSibling.Data
			n.RemoveChild(c.NextSibling)
		}
	}
}

var (
	anySpace  = regexp.MustCompile(`[ \t\r\n\f]+`)
	invisible = strings.NewReplacer("\u00a0", " ", "\u00ad", "", "\u034f", "", "\u200b", "", "\u200c", "",
		"\ufeff", "", glue, "")
)

// wrapText puts a text into a <pre>, where html2text takes it as it is.
func wrapText(parent, text *html.Node, pre bool) {
	s := invisible.Replace(text.Data)
	if !pre {
		s = anySpace.ReplaceAllString(s, " ")
	}
	if s == "" {
		parent.RemoveChild(text)
		return
	}
	wrap := &html.Node{Type: html.ElementNode, Data: "pre", DataAtom: atom.Pre}
	wrap.AppendChild(&html.Node{Type: html.TextNode, Data: glue + s + glue})
	parent.InsertBefore(wrap, text)
	parent.RemoveChild(text)
}

// asKnownBlock renames blocks that html2text does not know, and ends rows and cells.
func asKnownBlock(parent, n *html.Node) {
	switch n.DataAtom {
	case atom.Section,
		atom.Article,
		atom.Header,
		atom.Footer,
		atom.Main,
		atom.Nav,
		atom.Aside,
		atom.Center,
		atom.Address,
		atom.Figure,
		atom.Figcaption,
		atom.Dl,
		atom.Dt,
		atom.Dd,
		atom.Form,
		atom.Fieldset:
		n.DataAtom = atom.Div
	case atom.H4, atom.H5, atom.H6:
		n.DataAtom = atom.P
	case atom.Ol:
		n.DataAtom = atom.Ul
	case atom.Tr, atom.Caption, atom.Hr:
		parent.InsertBefore(&html.Node{Type: html.ElementNode, Data: "br", DataAtom: atom.Br}, n.NextSibling)
	case atom.Td, atom.Th:
		space := &html.Node{Type: html.TextNode, Data: " "}
		parent.InsertBefore(space, n.NextSibling)
		wrapText(parent, space, false)
	}
}

// prepareLink drops a target that is the text of its link as well, and has values in others escaped
// for a URL.
func (m *marks) prepareLink(n *html.Node) {
	for i := range n.Attr {
		if n.Attr[i].Key != "href" {
			continue
		}
		target := strings.TrimSpace(n.Attr[i].Val)
		if m.sameActions(textOf(n)) == m.sameActions(strings.TrimPrefix(target, "mailto:")) {
			target = ""
		}
		n.Attr[i].Val = m.escapeInURL(target)
		if target != "" && !onlyImage(n) {
			n.AppendChild(&html.Node{Type: html.TextNode, Data: " "}) // before the target
		}
	}
}

// onlyImage says whether html2text takes the alternative text of an image for the link's.
func onlyImage(n *html.Node) bool {
	return n.FirstChild != nil && n.FirstChild == n.LastChild && n.FirstChild.DataAtom == atom.Img
}

func textOf(n *html.Node) string {
	if n.Type == html.TextNode || n.Type == html.CommentNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(textOf(c))
	}
	return b.String()
}

var (
	manySpaces = regexp.MustCompile(` {2,}`)
	manyLines  = regexp.MustCompile(`\n{3,}`)
	lineEdges  = regexp.MustCompile(` *\n *`)
)

func cleanSpace(s string) string {
	s = strings.ReplaceAll(s, glue, "")
	s = lineEdges.ReplaceAllString(manySpaces.ReplaceAllString(s, " "), "\n")
	s = manyLines.ReplaceAllString(s, "\n\n")
	return strings.TrimSpace(s) + "\n"
}
