package render

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// What clients do not show is left out of a text that is made from HTML: above all the preheader,
// which is there for the list of messages alone.

var (
	hiding = regexp.MustCompile(`(?i)(?:^|[;\s])(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|` +
		`opacity\s*:\s*0*\.?0+\s*(?:[;!]|$))`)
	noHigh = regexp.MustCompile(`(?i)(?:^|[;\s])(?:max-)?height\s*:\s*0(?:px|em|%)?\s*(?:[;!]|$)`)
	cutOff = regexp.MustCompile(`(?i)(?:^|[;\s])overflow\s*:\s*hidden`)
	// Outlook alone obeys it. On a link it hides the button from Outlook, which has another in VML.
	hidingOutlook = regexp.MustCompile(`(?i)mso-hide\s*:\s*all`)
	// A style that may hide its element.
	mayHide = regexp.MustCompile(`(?i)display\s*:|visibility\s*:|mso-hide|opacity\s*:|hidden`)
)

func hidesAll(style string) bool {
	if !hints(style) {
		return false
	}
	return hiding.MatchString(style) || noHigh.MatchString(style) && cutOff.MatchString(style)
}

// hints is a quick look whether a style can hide its element at all.
func hints(style string) bool {
	style = strings.ToLower(style)
	return strings.Contains(style, "none") || strings.Contains(style, "hid") ||
		strings.Contains(style, "opacity") || strings.Contains(style, "collapse")
}

// hidden tells whether clients do not show an element. When that depends on the recipient, the text
// cannot be made.
func (m *marks) hidden(n *html.Node) bool {
	classes, id := "", ""
	for _, a := range n.Attr {
		isStyle := strings.HasPrefix(a.Key, "style")
		if a.Key != "class" && a.Key != "id" && !isStyle && !strings.Contains(a.Key, "hidden") {
			continue
		}
		always, sometimes := m.conditional(a.Key)
		if always == "hidden" {
			return true
		}
		if strings.Contains(sometimes, "hidden") {
			m.failed = errHidden
		}
		always, sometimes = m.conditional(a.Val)
		switch {
		case isStyle && m.found == noMark && !hints(a.Val):
		case isStyle:
			chosen := m.found.MatchString(a.Key) && mayHide.MatchString(always)
			if chosen || mayHide.MatchString(sometimes) || m.hidingValue(a.Val) {
				m.failed = errHidden
			}
			if hidesAll(always) || hidingOutlook.MatchString(always) && !hasLink(n) {
				return true
			}
		case a.Key == "class":
			classes = always
		case a.Key == "id":
			id = always
		}
	}
	if len(m.hiddenNames) == 0 {
		return false
	}
	for _, each := range strings.Fields(classes) {
		if m.hiddenNames["."+each] || m.hiddenNames[n.Data+"."+each] {
			return true
		}
	}
	return id != "" && (m.hiddenNames["#"+id] || m.hiddenNames[n.Data+"#"+id])
}

// conditional parts the value of an attribute into what is always there and what is within a
// condition.
func (m *marks) conditional(s string) (always, sometimes string) {
	if m.found == noMark || !m.found.MatchString(s) {
		return s, ""
	}
	var in, out strings.Builder
	depth, end := 0, 0
	add := func(text string) {
		if depth > 0 {
			in.WriteString(text)
		} else {
			out.WriteString(text)
		}
	}
	for _, at := range m.found.FindAllStringIndex(s, -1) {
		add(s[end:at[0]])
		end = at[1]
		switch m.action(s[at[0]:at[1]]).kind {
		case opening:
			depth++
		case closing:
			depth--
		}
	}
	add(s[end:])
	return out.String(), in.String()
}

// hidingValue tells whether a value of the recipient says how the element is displayed.
func (m *marks) hidingValue(style string) bool {
	for declaration := range strings.SplitSeq(style, ";") {
		name, value, _ := strings.Cut(declaration, ":")
		if m.found.MatchString(value) && mayHide.MatchString(name+":") {
			return true
		}
	}
	return false
}

func hasLink(n *html.Node) bool {
	if n.DataAtom == atom.A {
		return true
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if hasLink(c) {
			return true
		}
	}
	return false
}

var (
	cssComment = regexp.MustCompile(`(?s)/\*.*?\*/|<!--|-->`)
	simpleName = regexp.MustCompile(`^[A-Za-z0-9]*[.#][\w-]+$`)
)

// hideNames notes the classes and IDs that a style sheet hides, such as .preheader, apart from its
// @media rules.
func (m *marks) hideNames(sheet string) {
	sheet = cssComment.ReplaceAllString(sheet, " ")
	for sheet != "" {
		selectors, rest, found := strings.Cut(sheet, "{")
		if !found {
			return
		}
		if i := strings.LastIndexByte(selectors, ';'); i >= 0 {
			selectors = selectors[i+1:]
		}
		length := block(rest)
		declarations := strings.TrimSuffix(rest[:length], "}")
		sheet = rest[length:]
		atRule := strings.HasPrefix(strings.TrimSpace(selectors), "@")
		if atRule || m.found.MatchString(declarations) || !hidesAll(declarations) {
			continue
		}
		for each := range strings.SplitSeq(selectors, ",") {
			if each = strings.TrimSpace(each); simpleName.MatchString(each) {
				m.hiddenNames[each] = true
			}
		}
	}
}

// block returns the length of a block of a style sheet, with its closing brace.
func block(s string) int {
	depth := 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}
