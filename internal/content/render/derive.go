package render

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/inbucket/html2text"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// textFromHTML makes a text template from an HTML template: once, not for each message. Each action
// becomes a mark, the page is converted, and the marks become actions again. Definitions are
// converted one by one.
func textFromHTML(source string) (string, error) {
	tree := parse.New(FieldHTML)
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(source, "", "", trees); err != nil {
		return "", err
	}
	for _, each := range trees {
		authorsMarkup(each)
	}
	reader := newMarkupReader(FieldHTML, newTemplateText(source), trees)
	reader.plain = true
	if problem, _ := reader.read(FieldHTML); problem != nil {
		return "", errMoved
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		m := newMarks(source)
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

// marks is a template whose actions are replaced by marks: letters and digits that occur nowhere in
// it.
type marks struct {
	html    strings.Builder
	prefix  string
	found   *regexp.Regexp
	actions []action
	open    int // structures seen so far

	hiddenNames map[string]bool // ".class", "#id", "tag.class" of elements that no client shows
	failed      error
}

// action is one {{…}} and where it belongs.
type action struct {
	source string // without the braces
	value  bool   // prints something, and may be piped on
	kind   kind
	within []place // the branches it is in, outermost first
	at     place   // the branch that a control action begins
}

// place is a branch of a control structure: its number, and whether it is the one after else.
type place struct {
	structure int
	orElse    bool
}

type kind int

const (
	leaf kind = iota
	opening
	otherwise
	closing
)

func newMarks(source string) *marks {
	m := &marks{prefix: "dmq", hiddenNames: map[string]bool{}}
	for strings.Contains(strings.ToLower(source), m.prefix) {
		m.prefix += "q"
	}
	m.found = regexp.MustCompile(m.prefix + `(\d+)([zuw])`)
	return m
}

// The last letter of a mark says how its value is written.
const (
	asIs    = "z"
	asURL   = "u" // all of a URL, or its path
	asQuery = "w" // in a URL behind "?" or "#"
)

func (m *marks) add(a action) {
	fmt.Fprintf(&m.html, "%s%d%s", m.prefix, len(m.actions), asIs)
	m.actions = append(m.actions, a)
}

func (m *marks) flatten(list *parse.ListNode, within []place) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		if b := branch(n); b != nil {
			m.flattenBranch(n, b, within)
			continue
		}
		switch n := n.(type) {
		case *parse.TextNode:
			m.html.Write(n.Text)
		case *parse.ActionNode:
			m.add(action{source: n.Pipe.String(), value: len(n.Pipe.Decl) == 0, within: within})
		case *parse.CommentNode:
		default: // template, break, continue
			m.add(action{source: strings.TrimSuffix(strings.TrimPrefix(n.String(), "{{"), "}}"), within: within})
		}
	}
}

func (m *marks) flattenBranch(n parse.Node, b *parse.BranchNode, within []place) {
	word := "if"
	switch n.Type() {
	case parse.NodeRange:
		word = "range"
	case parse.NodeWith:
		word = "with"
	}
	m.open++
	first, second := place{structure: m.open}, place{m.open, true}
	m.add(action{source: word + " " + b.Pipe.String(), kind: opening, within: within, at: first})
	m.flatten(b.List, append(slices.Clip(within), first))
	if b.ElseList != nil {
		m.add(action{source: "else", kind: otherwise, within: within, at: second})
		m.flatten(b.ElseList, append(slices.Clip(within), second))
	}
	m.add(action{source: "end", kind: closing, within: within, at: first})
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

var noMark = regexp.MustCompile(`a^`) // matches nothing

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
	source := m.html.String()
	if m.found != noMark {
		source = m.inComments()
	}
	// As a fragment of a body nothing is moved into a head or behind the end.
	nodes, err := html.ParseFragment(strings.NewReader(source), body)
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

// conditions returns the marks of a comment that print nothing, each in a comment of its own.
func (m *marks) conditions(comment string) string {
	var out strings.Builder
	for _, mark := range m.found.FindAllString(comment, -1) {
		if a := m.action(mark); !a.value && !strings.HasPrefix(a.source, "template ") {
			out.WriteString("<!--" + mark + "-->")
		}
	}
	return out.String()
}

// depth returns how many more conditions a text opens than it closes.
func (m *marks) depth(text string) (n int) {
	for _, mark := range m.found.FindAllString(text, -1) {
		switch m.action(mark).kind {
		case opening:
			n++
		case closing:
			n--
		}
	}
	return n
}

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

// sameActions replaces marks by their actions, so that two texts can be compared.
func (m *marks) sameActions(s string) string {
	return m.found.ReplaceAllStringFunc(strings.TrimSpace(s), func(mark string) string {
		return "{{" + m.action(mark).source + "}}"
	})
}

func (m *marks) escapeInURL(target string) string {
	var out strings.Builder
	end := 0
	for _, at := range m.found.FindAllStringIndex(target, -1) {
		how := asURL
		if strings.ContainsAny(target[:at[0]], "?#") {
			how = asQuery
		}
		out.WriteString(target[end : at[1]-1])
		out.WriteString(how)
		end = at[1]
	}
	return out.String() + target[end:]
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

func (m *marks) action(mark string) *action {
	i, _ := strconv.Atoi(mark[len(m.prefix) : len(mark)-1])
	return &m.actions[i]
}

var (
	errMoved  = errors.New("an {{if}}, {{range}} or {{with}} is torn apart by the conversion")
	errHidden = errors.New("an element is hidden by a condition or a value in its style")
)

// checkOrder makes sure that what is left of the actions still says the same: each in the branches
// where it was.
func (m *marks) checkOrder(text string) error {
	var stack []place
	for _, mark := range m.found.FindAllString(text, -1) {
		a := m.action(mark)
		switch a.kind {
		case otherwise, closing:
			top := len(stack) - 1
			if top < 0 || stack[top].structure != a.at.structure {
				return errMoved
			}
			if stack = stack[:top]; !slices.Equal(stack, a.within) {
				return errMoved
			}
			if a.kind == otherwise {
				stack = append(stack, a.at)
			}
		default:
			if !slices.Equal(stack, a.within) {
				return errMoved
			}
			if a.kind == opening {
				stack = append(stack, a.at)
			}
		}
	}
	if len(stack) > 0 {
		return errMoved
	}
	return nil
}

// restore puts the actions back in place of their marks.
func (m *marks) restore(text string) string {
	var out strings.Builder
	end := 0
	for _, at := range m.found.FindAllStringIndex(text, -1) {
		out.WriteString(literal(text[end:at[0]]))
		mark := text[at[0]:at[1]]
		a := m.action(mark)
		out.WriteString("{{" + a.source)
		if a.value {
			switch mark[len(mark)-1:] {
			case asURL:
				out.WriteString(" | " + urlFunc)
			case asQuery:
				out.WriteString(" | urlquery")
			}
		}
		out.WriteString("}}")
		end = at[1]
	}
	return out.String() + literal(text[end:])
}

// literal keeps two braces that the HTML wrote as entities from being an action.
func literal(s string) string { return strings.ReplaceAll(s, "{{", `{{"{{"}}`) }

// urlFunc is the template function that escapes what no URL may hold, and leaves its delimiters.
const urlFunc = "_url"

func normalURL(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c <= ' ', c >= 0x7F, strings.IndexByte("\"'<>\\^`{|}()", c) >= 0:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
