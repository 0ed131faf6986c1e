package render

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"directmailer/internal/content/message"
)

const (
	// maxName is how many characters a name in To may have. A longer one is no name, and is left
	// out.
	maxName = 1000
	// maxHeader is how many octets the value of an added header may have.
	maxHeader = 4096
)

// header is an added header field that differs by recipient.
type header struct {
	name string
	part *part
}

// allParts returns the templates that are executed for each recipient.
func (t *Template) allParts() []*part {
	parts := []*part{t.subject, t.toName, t.text, t.html}
	for _, each := range t.headers {
		parts = append(parts, each.part)
	}
	return parts
}

// compileHeaders compiles the added headers, in the order of their names. A header that all
// recipients have in common is encoded here, once.
func (c *compiler) compileHeaders() {
	given := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(c.spec.Headers)) {
		field := FieldHeaders + "." + name
		if err := message.CheckFieldName(name); err != nil {
			c.report(&Problem{Field: field, Message: err.Error()})
			continue
		}
		if given[strings.ToLower(name)] {
			c.report(&Problem{Field: field, Message: "is there twice, in capitals and small letters"})
		}
		given[strings.ToLower(name)] = true
		p, problem := compileLine(field, c.spec.Headers[name])
		c.report(problem)
		switch {
		case problem != nil:
		case p.constant:
			value, err := p.execute(&output{budget: newBudget(context.Background())}, &fields{})
			c.addConstant(name, value, err)
		default:
			c.t.headers = append(c.t.headers, header{name, p})
		}
	}
	for _, each := range c.spec.Fields {
		if !given[strings.ToLower(each.Name)] {
			c.addConstant(each.Name, []byte(each.Value), nil)
		}
	}
}

// addConstant encodes a header that all recipients have, unless it is blank.
func (c *compiler) addConstant(name string, text []byte, err error) {
	value, problem := headerValue(name, text)
	if err == nil && problem == nil && value != "" {
		head := &c.t.head
		head.EncodedFields, err = message.AppendField(head.EncodedFields, message.Field{Name: name, Value: value})
	}
	if err != nil {
		problem = c.t.refused(err)
	}
	c.report(problem)
}

// executeHeaders fills in the name in To and the added headers. A header that is blank is left out.
func (r *Renderer) executeHeaders(m *message.Message) error {
	t := r.t
	if t.toName != nil {
		name, err := t.toName.execute(&r.line, &r.data)
		if err != nil {
			return err
		}
		m.To.Name = nameText(name)
	}
	r.added = r.added[:0]
	for _, each := range t.headers {
		text, err := each.part.execute(&r.line, &r.data)
		if err != nil {
			return err
		}
		value, problem := headerValue(each.name, text)
		if problem != nil {
			return problem
		}
		if value != "" {
			r.added = append(r.added, message.Field{Name: each.name, Value: value})
		}
	}
	m.Fields = r.added
	return nil
}

// nameText returns a text as a name: without line breaks and repeated blanks. It returns "" for one
// that is too long to be a name.
func nameText(b []byte) string {
	if len(b) > maxName*utf8.UTFMax {
		return ""
	}
	name := strings.Join(strings.Fields(headerText(b)), " ")
	if utf8.RuneCountInString(name) > maxName {
		return ""
	}
	return name
}

func headerValue(name string, b []byte) (string, *Problem) {
	if len(b) > maxHeader {
		return "", &Problem{Field: FieldHeaders + "." + name, Message: "is longer than 4096 octets"}
	}
	return headerText(b), nil
}
