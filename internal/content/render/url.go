package render

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"unicode/utf8"

	"directmailer/internal/audience/field"
)

// FieldPageURL is the field of a URL's template.
const FieldPageURL = "content.page_url"

// maxURL is how long a URL for one recipient may be, in octets.
const maxURL = 8 << 10

// URLTemplate is a compiled template of a URL. It is safe for concurrent use. Each goroutine needs
// a [URLRenderer] of its own.
type URLTemplate struct {
	part *part
	base url.URL // scheme and host, which no recipient can change
}

// escapeFunc is the template function that each value of a URL's template goes through last.
const escapeFunc = "_urlvalue"

// CompileURL compiles the template of a URL (RFC 3986), or returns its problem. Scheme and host
// must not come from recipient data.
func CompileURL(text string) (*URLTemplate, *Problem) {
	s := newTemplateText(text)
	if problem := Oversized(FieldPageURL, s.original); problem != nil {
		return nil, problem
	}
	t, err := texttemplate.New(FieldPageURL).Funcs(functions(false)).Parse(text)
	if err != nil {
		return nil, s.syntax(FieldPageURL, err)
	}
	base, problem := literalBase(t.Tree.Root, s)
	if problem != nil {
		return nil, problem
	}
	p := &part{field: FieldPageURL, authored: s, trees: map[string]*parse.Tree{}}
	for _, each := range t.Templates() {
		p.trees[each.Name()] = each.Tree
	}
	if problem := tooComplex(FieldPageURL, s, p.trees); problem != nil {
		return nil, problem
	}
	byName(t.Tree)
	for _, each := range t.Templates() {
		if each.Tree == nil {
			continue
		}
		if problem := checkURLTexts(each.Tree.Root, s); problem != nil {
			return nil, problem
		}
		if problem := escapeValues(each.Tree.Root, s); problem != nil {
			return nil, problem
		}
		applyTruth(each.Tree)
	}
	for _, tree := range p.trees {
		addTicks(tree)
	}
	p.calls = callsOf(p.trees)
	return &URLTemplate{part: p, base: *base}, nil
}

// Base is scheme and host, without a path.
func (t *URLTemplate) Base() url.URL { return t.base }

// literalBase reads scheme and host from the text before the first action.
func literalBase(root *parse.ListNode, s *templateText) (*url.URL, *Problem) {
	text, action := textBefore(root, s)
	scheme, rest, found := strings.Cut(text, "://")
	if !found || scheme != "http" && scheme != "https" {
		return nil, urlProblem(s, 0, "must begin with http:// or https://")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 && action >= 0 {
		return nil, urlProblem(s, action, "the host, and a / behind it, must come before the first {{: "+
			"recipient data must not choose the host")
	}
	if end < 0 {
		end = len(rest)
	}
	base, err := url.Parse(scheme + "://" + rest[:end])
	switch {
	case err != nil || base.Hostname() == "":
		return nil, urlProblem(s, 0, "has no usable host")
	case base.User != nil:
		return nil, urlProblem(s, 0, "has a user name or a password: pages must be open to the workers")
	}
	return base, nil
}

// textBefore returns the text before the first action and the action's offset, or -1 if there is no
// action.
func textBefore(root *parse.ListNode, s *templateText) (string, int) {
	var text strings.Builder
	for _, n := range root.Nodes {
		t, ok := n.(*parse.TextNode)
		if !ok {
			return text.String(), max(strings.LastIndex(s.original[:int(n.Position())], "{{"), 0)
		}
		text.Write(t.Text)
	}
	return text.String(), -1
}

func urlProblem(s *templateText, at int, format string, args ...any) *Problem {
	line, column := s.at(at)
	return &Problem{Field: FieldPageURL, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}

// The characters of RFC 3986, appendix A, and those beyond ASCII, which are escaped when the URL is
// asked for.
var notInURL = regexp.MustCompile(
	"[^-A-Za-z0-9._~:/?#\\[\\]@!$&'()*+,;=%\u0080-\U0010FFFF]|%(?:[^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)",
)

// checkURLTexts refuses what no URL can hold in the author's own words.
func checkURLTexts(root *parse.ListNode, s *templateText) (problem *Problem) {
	walk(root, func(n parse.Node) {
		text, ok := n.(*parse.TextNode)
		if !ok || problem != nil {
			return
		}
		if at := notInURL.FindIndex(text.Text); at != nil {
			c, _ := utf8.DecodeRune(text.Text[at[0]:])
			problem = urlProblem(s, int(text.Pos)+at[0], "holds %q, which a URL cannot: write it as %%%02X", c, c)
		}
	})
	return problem
}

// escapeValues appends escapeFunc to each action that writes.
func escapeValues(root *parse.ListNode, s *templateText) (problem *Problem) {
	walk(root, func(n parse.Node) {
		action, ok := n.(*parse.ActionNode)
		if !ok || len(action.Pipe.Decl) > 0 {
			return
		}
		for _, c := range action.Pipe.Cmds {
			name, ok := c.Args[0].(*parse.IdentifierNode)
			if ok && (name.Ident == "urlquery" || name.Ident == "html" || name.Ident == "js") && problem == nil {
				problem = urlProblem(
					s,
					int(name.Pos),
					"values are escaped for the URL by themselves: leave out %s",
					name.Ident,
				)
			}
		}
		escape := parse.NewIdentifier(escapeFunc).SetPos(action.Pos)
		action.Pipe.Cmds = append(
			action.Pipe.Cmds,
			&parse.CommandNode{NodeType: parse.NodeCommand, Pos: action.Pos, Args: []parse.Node{escape}},
		)
	})
	return problem
}

// escapeURLValue escapes all but the unreserved characters of RFC 3986, 2.3: so a value is a value,
// in a path as in a query, whatever it holds. Only "." and ".." still mean something, in a path:
// [URLRenderer.Render] refuses them.
func escapeURLValue(value any) string {
	const hexDigits = "0123456789ABCDEF"
	s := printed(value)
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// URLRenderer renders one URL at a time on buffers that it keeps.
type URLRenderer struct {
	t    *URLTemplate
	data fields
	out  output
}

// NewRenderer returns a URLRenderer for one goroutine and for the URLs of one batch. It ends with
// the context.
func (t *URLTemplate) NewRenderer(ctx context.Context) *URLRenderer {
	return &URLRenderer{t: t, data: newFields(), out: output{budget: newBudget(ctx)}}
}

// Render returns the URL for a recipient. Every error is a [*Problem] of this one recipient and
// holds no recipient data, except [ErrBatchTooSlow] and the error of the context.
func (r *URLRenderer) Render(to Recipient) (string, error) {
	if err := r.out.budget.begin(); err != nil {
		return "", err
	}
	defer r.out.budget.end()
	r.data.clear()
	for name, value := range to.Attributes {
		r.data.values[name] = value
	}
	r.data.values["email"] = field.Value{Text: to.email()}
	b, err := r.t.part.execute(&r.out, &r.data)
	if err != nil {
		return "", err
	}
	if len(b) > maxURL {
		return "", &Problem{
			Field:   FieldPageURL,
			Message: fmt.Sprintf("is longer than %d octets for this recipient", maxURL),
		}
	}
	text := string(b)
	if climbs(text) {
		return "", &Problem{Field: FieldPageURL, Message: `a value holds "." or ".." as a step of the path`}
	}
	return text, nil
}

// climbs reports whether a step of the URL's path is "." or "..", also for a server that takes
// escaped slashes for slashes.
func climbs(text string) bool {
	_, path, _ := strings.Cut(text, "://")
	if end := strings.IndexAny(path, "?#"); end >= 0 {
		path = path[:end]
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return true // its escapes are torn apart
	}
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if step == "." || step == ".." {
			return true
		}
	}
	return false
}
