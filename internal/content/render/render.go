// Package render compiles the content of a mailing once. For each recipient it renders the exact
// bytes that are sent (package message).
//
// Subject and text are text/template, HTML is html/template, all with missingkey=error, helpers and
// one rule for truth and comparison (see docs/templates.md). The templates' author is trusted: his
// HTML goes out as he wrote it, with its comments. Recipient data is not trusted: in HTML it is
// escaped for its place, in a subject a line break in it is a blank. Errors name the field, line
// and column of the template, and never hold recipient data.
package render

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/field"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/message"
	"directmailer/internal/feedback"
)

// Spec is a mailing's content.
type Spec struct {
	Mailing string            // the mailing's ID, a dot-atom: the first part of every Message-ID
	From    string            // RFC 5322: an address, or a name and an address; its domain is that of the Message-IDs
	ReplyTo string            // the same; may be empty
	ToName  string            // text template of the name in To; may be empty
	Subject string            // text template
	Headers map[string]string // text templates by the name of a header field that [message.CheckFieldName] accepts
	Text    string            // text template; when empty it is made from HTML
	HTML    string            // HTML template; may be empty when Text is not
	Static  bool              // Text and HTML are no templates, but what is sent
	Page    bool              // each recipient has a [Page] instead of HTML; Text may be empty
	ListID  string            // the identifier of RFC 2919, without angle brackets; may be empty
	// Fields are header fields of all messages, unless Headers has one of the same name.
	Fields []message.Field
	Date   time.Time
	Signer *dkim.Signer // signs every message, with Date as the time; nil: none is signed
	Test   bool         // the subject says that the message is a test

	// Unsubscribe makes the unsubscribe links of recipients. nil: nobody can unsubscribe.
	Unsubscribe *feedback.Links
}

// Recipient is whom a message is rendered for.
type Recipient struct {
	Number     int32        // in the mailing
	Address    string       // bare, as on the wire: see [address.Address]
	Attributes field.Values // by column; the templates see email and unsubscribe_url besides
	Email      string       // what templates see as email; the Address if it is empty
	Page       Page         // where the Spec says so
}

// testMark begins the subject of each message of a test.
const testMark = "[Test] "

// Page is what was fetched for one recipient, UTF-8: an HTML part, or a Text that is all there is.
type Page struct{ HTML, Text []byte }

// Info is what a sender must know of a rendered message.
type Info struct {
	MessageID string // with angle brackets
	NeedsUTF8 bool   // can only go to a server that offers SMTPUTF8
}

// Template is a compiled [Spec]. It is safe for concurrent use. Each goroutine needs a [Renderer]
// of its own.
type Template struct {
	mailing string
	domain  string          // of the Message-IDs
	links   *feedback.Links // nil: nobody can unsubscribe
	head    message.Message
	signer  *dkim.Signer // nil: messages are not signed

	subject *part
	toName  *part // nil: no name
	headers []header
	text    *part // nil: no text part
	html    *part // nil: no HTML part
	derived bool  // text was made from HTML
	page    bool
	test    bool
	fields  []string // that the parts use; nil: any
}

// Renderer renders one message at a time and reuses its buffers. It is not safe for concurrent use.
type Renderer struct {
	t                   *Template
	signing             *dkim.Signing // nil: messages are not signed
	data                fields
	link                string // of the recipient; empty if nobody can unsubscribe
	subject, text, html output
	line                output // of a name or a header
	added               []message.Field
	budget              *budget
}

// Fields returns the fields of the audience that the template uses; nil if it may use any.
func (t *Template) Fields() []string {
	if t.fields == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(t.fields), func(name string) bool {
		return name == "email" || name == UnsubscribeField && t.links != nil
	})
}

// NewRenderer returns a Renderer for one goroutine and for the messages of one batch. It ends with
// the context.
func (t *Template) NewRenderer(ctx context.Context) *Renderer {
	r := &Renderer{t: t, data: newFields(), budget: newBudget(ctx)}
	for _, o := range []*output{&r.subject, &r.text, &r.html, &r.line} {
		o.budget = r.budget
	}
	if t.signer != nil {
		r.signing = t.signer.NewSigning(t.head.Date)
	}
	if t.html != nil {
		r.html.passages = t.html.passages
	}
	if t.text != nil && !t.derived { // what is derived is tidied as a whole
		r.text.passages = t.text.passages
	}
	return r
}

// Steps returns how many steps the messages so far have taken.
func (r *Renderer) Steps() int { return maxBatchSteps - r.budget.batch }

// Render appends the message for r to dst. The same recipient gives the same bytes. Every error is
// a [*Problem] of this one recipient and holds no recipient data, except [ErrBatchTooSlow], the
// error of the context, and that of a signature. dst is then returned unchanged.
func (r *Renderer) Render(dst []byte, to Recipient) ([]byte, Info, error) {
	t := r.t
	if err := r.budget.begin(); err != nil {
		return dst, Info{}, err
	}
	defer r.budget.end()
	r.load(to)

	recipient, err := address.Parse(to.Address)
	if err != nil {
		return dst, Info{}, &Problem{Field: "to", Message: err.Error()}
	}
	if recipient.String() != to.Address {
		return dst, Info{}, &Problem{Field: "to", Message: "is not written as on the wire (lower-case A-labels)"}
	}
	m := t.head
	m.To.Address = recipient
	m.UnsubscribeURL = r.link
	m.UnsubscribeAddress = t.links.UnsubscribeAddress(to.Number)
	if t.page {
		m.Text, m.HTML = to.Page.Text, to.Page.HTML
		if t.links != nil {
			m.Text, m.HTML = fillPlaceholder(m.Text, m.UnsubscribeURL), fillPlaceholder(m.HTML, m.UnsubscribeURL)
		}
	}
	if err := r.execute(&m); err != nil {
		return dst, Info{}, err
	}
	m.ID = message.ID(t.mailing, to.Number, to.Address, t.domain)
	out, room := dst, 0
	if r.signing != nil {
		room = r.signing.Room()
		out = append(out, make([]byte, room)...)
	}
	if out, err = m.Append(out); err != nil {
		return dst, Info{}, t.refused(err)
	}
	if r.signing != nil {
		if out, err = r.signing.Sign(out, len(dst), room); err != nil {
			return dst, Info{}, err
		}
	}
	return out, Info{MessageID: m.ID, NeedsUTF8: m.NeedsUTF8()}, nil
}

// load sets the fields of a recipient that the templates use.
func (r *Renderer) load(to Recipient) {
	r.data.clear()
	if r.t.fields == nil {
		for name, value := range to.Attributes {
			r.data.set(name, value)
		}
	}
	for _, name := range r.t.fields {
		if value, ok := to.Attributes[name]; ok {
			r.data.set(name, value)
		}
	}
	if r.link = r.t.links.UnsubscribeURL(to.Number); r.link != "" { // a column of that name is not used
		r.data.values[UnsubscribeField] = field.Value{Text: r.link}
	}
	r.data.values["email"] = field.Value{Text: to.email()}
}

func (to Recipient) email() string { return cmp.Or(to.Email, to.Address) }

// execute fills in the subject, and the bodies that are not there already. HTML comes before a text
// made from it, so that an error names the line of what the author wrote.
func (r *Renderer) execute(m *message.Message) error {
	t := r.t
	subject, err := t.subject.execute(&r.subject, &r.data)
	if err != nil {
		return err
	}
	m.Subject = headerText(subject)
	if m.Subject == "" {
		return &Problem{Field: FieldSubject, Message: "is blank"}
	}
	if t.test {
		m.Subject = testMark + m.Subject
	}
	if err := r.executeHeaders(m); err != nil {
		return err
	}
	if t.html != nil {
		if m.HTML, err = t.html.execute(&r.html, &r.data); err != nil {
			return err
		}
		m.HTMLInserts = r.html.inserts
	}
	if t.page && t.text == nil && m.Text == nil {
		m.Text = textOfPage(m.HTML)
	}
	if t.text != nil && m.Text == nil {
		if m.Text, err = t.text.execute(&r.text, &r.data); err != nil {
			return err
		}
		m.TextInserts = r.text.inserts
		if t.derived {
			m.Text = tidy(m.Text)
		}
	}
	if len(m.HTMLInserts) == 0 {
		m.HTML = unlessBlank(m.HTML)
	}
	if len(m.TextInserts) == 0 {
		m.Text = unlessBlank(m.Text)
	}
	if m.HTML == nil && m.EncodedHTML == nil && m.Text == nil && m.EncodedText == nil {
		return &Problem{Field: FieldContent, Message: "text and HTML are blank; a blank body is not sent"}
	}
	return nil
}

// refused puts a composer's error in the words of the mailing's input.
func (t *Template) refused(err error) *Problem {
	var field *message.FieldError
	var problem *Problem
	if errors.As(err, &problem) {
		return problem
	}
	if !errors.As(err, &field) {
		return &Problem{Field: FieldContent, Message: "cannot be composed"}
	}
	p := &Problem{Field: field.Field, Message: field.Err.Error()}
	switch field.Field {
	case "text":
		p.Field = FieldText
		if t.derived {
			p.Field = FieldHTML
		}
	case "html":
		p.Field = FieldHTML
	}
	if t.page && (field.Field == "html" || field.Field == "text" && t.text == nil) {
		p.Field = FieldPageURL
	}
	return p
}
