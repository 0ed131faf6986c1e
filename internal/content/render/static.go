package render

import (
	"context"
	"text/template/parse"

	"directmailer/internal/content/message"
)

// setBodies encodes bodies that all recipients have in common, once. A missing text is made from
// the HTML.
func (c *compiler) setBodies(hasText, hasHTML bool, text, html []byte) {
	if hasHTML {
		c.t.head.EncodedHTML = c.encode(FieldHTML, html)
		if !hasText {
			text = textOfPage(html)
		}
	}
	if unlessBlank(text) != nil {
		c.t.head.EncodedText = c.encode(FieldText, text)
	}
}

func (c *compiler) encode(field string, body []byte) []byte {
	encoded, err := message.Encode(body)
	if err != nil {
		c.report(&Problem{Field: field, Message: err.Error()})
	}
	return encoded
}

// setConstants executes templates that have no recipient data once, so that they are not executed
// and encoded for each message.
func (c *compiler) setConstants() {
	t := c.t
	if t.html != nil && t.html.constant {
		if t.head.EncodedHTML = c.once(t.html); t.head.EncodedHTML != nil {
			t.html = nil
		}
		if t.derived {
			t.text.constant = true
		}
	}
	if t.text != nil && t.text.constant && !t.page {
		if t.head.EncodedText = c.once(t.text); t.head.EncodedText != nil || t.derived {
			t.text = nil
		}
	}
}

// once returns what a template writes, encoded. It returns nil when that is blank or fails: then
// each recipient fails.
func (c *compiler) once(p *part) []byte {
	body, err := p.execute(&output{budget: newBudget(context.Background())}, &fields{})
	if err != nil {
		return nil
	}
	if c.t.derived && p == c.t.text {
		body = tidy(body)
	}
	if body = unlessBlank(body); body == nil {
		return nil
	}
	return c.encode(p.field, body)
}

// constant tells whether a parsed template has no action.
func constant(tree *parse.Tree) bool {
	same := tree != nil
	walk(root(tree), func(n parse.Node) {
		switch n.(type) {
		case *parse.TextNode, *parse.CommentNode:
		default:
			same = false
		}
	})
	return same
}
