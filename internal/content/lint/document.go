package lint

import (
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// document is what an HTML part shows.
type document struct {
	links       []link
	pictures    []picture
	visible     strings.Builder // the text that readers see
	letters     int             // letters and digits that readers see
	images      int
	hidden      int  // letters and digits that are hidden, other than a preview text at the beginning
	hiddenLinks bool // a link is hidden
	active      []string
}

// link is an element that leads somewhere.
type link struct {
	address string
	text    string // that it shows
	number  int
}

// picture is an image.
type picture struct {
	address string
	alt     bool // it has an alt text, which may be empty
	number  int
}

// maxPreview is how many letters and digits a hidden preview text may have.
const maxPreview = 250

func (l *Linter) readHTML(text string) document {
	w := walker{}
	if root, err := html.Parse(strings.NewReader(text)); err == nil {
		w.styles = strings.Contains(text, "<style")
		w.walk(root, look{background: white, color: black, size: 1})
	}
	if w.preview > maxPreview {
		w.doc.hidden += w.preview
	}
	return w.doc
}

type walker struct {
	doc     document
	styles  bool // the document has a style sheet, which is not read
	preview int  // hidden letters before the first visible one
	within  *link
}

func (w *walker) walk(n *html.Node, seen look) {
	switch n.Type {
	case html.TextNode:
		w.text(n.Data, seen)
	case html.ElementNode:
		if n.DataAtom == atom.Style || n.DataAtom == atom.Script || n.DataAtom == atom.Head || n.DataAtom == atom.Title ||
			n.DataAtom == atom.Template {
			w.activeWithin(n)
			return
		}
		seen = seen.of(n, w.styles)
		w.element(n, seen)
		if n.DataAtom == atom.A && attributeOf(n, "href") != nil {
			w.link(n, seen)
			return
		}
	}
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		w.walk(child, seen)
	}
}

// activeWithin notes scripts in places without visible text.
func (w *walker) activeWithin(n *html.Node) {
	if n.Type == html.ElementNode && isActive(n.DataAtom) {
		w.doc.active = append(w.doc.active, n.Data)
	}
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		w.activeWithin(child)
	}
}

func isActive(a atom.Atom) bool {
	switch a {
	case atom.Script, atom.Form, atom.Iframe, atom.Frame, atom.Frameset, atom.Object, atom.Embed, atom.Applet:
		return true
	}
	return false
}

func (w *walker) element(n *html.Node, seen look) {
	if isActive(n.DataAtom) {
		w.doc.active = append(w.doc.active, n.Data)
	}
	switch n.DataAtom {
	case atom.Img:
		w.doc.images++
		p := picture{number: w.doc.images, alt: attributeOf(n, "alt") != nil}
		if src := attributeOf(n, "src"); src != nil {
			p.address = *src
		}
		if alt := attributeOf(n, "alt"); alt != nil && w.within != nil {
			w.within.text += *alt
		}
		w.doc.pictures = append(w.doc.pictures, p)
	case atom.Area:
		if href := attributeOf(n, "href"); href != nil {
			w.doc.links = append(w.doc.links, link{address: *href, number: len(w.doc.links) + 1})
		}
	case atom.Br, atom.P, atom.Div, atom.Td, atom.Tr, atom.Li, atom.H1, atom.H2, atom.H3:
		w.doc.visible.WriteByte('\n')
	}
}

func (w *walker) link(n *html.Node, seen look) {
	outer := w.within
	w.within = &link{address: *attributeOf(n, "href"), number: len(w.doc.links) + 1}
	w.doc.links = append(w.doc.links, *w.within)
	at := len(w.doc.links) - 1
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		w.walk(child, seen)
	}
	w.doc.links[at].text = strings.TrimSpace(w.within.text)
	w.within = outer
}

func (w *walker) text(text string, seen look) {
	count := 0
	for _, r := range text {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			count++
		}
	}
	switch {
	case !seen.hidden():
		w.doc.visible.WriteString(text)
		w.doc.letters += count
		if w.within != nil {
			w.within.text += text
		}
	case w.doc.letters == 0 && w.within == nil:
		w.preview += count
	case count > 0:
		w.doc.hidden += count
		w.doc.hiddenLinks = w.doc.hiddenLinks || w.within != nil
	}
}

func attributeOf(n *html.Node, name string) *string {
	for i := range n.Attr {
		if n.Attr[i].Key == name && n.Attr[i].Namespace == "" {
			return &n.Attr[i].Val
		}
	}
	return nil
}
