package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"directmailer/internal/mailings"
	"directmailer/internal/page"
	"directmailer/internal/render"
	"directmailer/workflows"
)

// Content is what an input says of the messages, for package render. date is the Date header of all of them.
func Content(in workflows.Input, date time.Time) render.Spec {
	s := render.Spec{Mailing: in.ID, From: in.From, ReplyTo: in.ReplyTo, Subject: in.Subject, Text: in.Content.Text, HTML: in.Content.HTML,
		Static: in.Content.Static, Page: hasPages(in), Date: date}
	if sender, err := in.Sender(); err == nil && in.List != "" {
		s.ListID = in.List + "." + sender.Domain // RFC 2919: a label for the list below the sender's own domain
	}
	return s
}

func hasPages(in workflows.Input) bool {
	return in.Content.PageURL != "" || in.Content.PageColumn != ""
}

// Pages says where the pages of a mailing's recipients are; nil when its content is not fetched.
func Pages(in workflows.Input) (*page.Source, []render.Problem) {
	if !hasPages(in) {
		return nil, nil
	}
	return page.NewSource(in.Content.PageURL, in.Content.PageColumn, in.Content.PageHosts)
}

// CheckContent compiles the input's templates, that of a page's URL among them, and returns what is wrong with them. Problems of its addresses are left to
// [workflows.Input.Validate].
func CheckContent(in workflows.Input) []render.Problem {
	_, problems := render.Compile(Content(in, time.Unix(0, 0)))
	var out []render.Problem
	for _, p := range problems {
		if p.Field == render.FieldSubject || strings.HasPrefix(p.Field, render.FieldContent) {
			out = append(out, p)
		}
	}
	_, problems = Pages(in)
	return append(out, problems...)
}

// fileName names a message's file in a drop directory: the same for every attempt.
func fileName(mailing string, recipient int32) string {
	return fmt.Sprintf("%s.%08d", mailing, recipient)
}

// content is a mailing's compiled content.
type content struct {
	template *render.Template
	pages    *page.Source // nil: nothing is fetched
	envelope string       // envelope sender
}

// contents keeps the compiled content of the mailings that this worker renders, by their IDs. An input
// never changes once it is in the database, so what is here is never stale; only the number is bounded.
type contents = compiled[*content]

func newContents() *contents { return &contents{byID: map[string]*entry[*content]{}} }

// compiled keeps what was compiled for up to maxContents mailings. It is safe for concurrent use.
type compiled[T any] struct {
	mu    sync.Mutex
	byID  map[string]*entry[T]
	order []string // oldest first
}

// entry is what was compiled for one mailing, or is being compiled.
type entry[T any] struct{ get func() (T, error) }

const maxContents = 32

// get returns what compile returns for the mailing. A mailing is compiled once: whoever else asks for
// it waits for the same result. Nobody waits for the compilation of another mailing. After an error the
// next call compiles again.
func (c *compiled[T]) get(id string, compile func() (T, error)) (T, error) {
	e := c.entry(id, compile)
	done := false
	defer func() { // also after a panic of compile
		if !done {
			c.forget(id, e)
		}
	}()
	v, err := e.get()
	done = err == nil
	return v, err
}

// entry finds or begins the mailing's entry. Only this happens under the lock.
func (c *compiled[T]) entry(id string, compile func() (T, error)) *entry[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.byID[id]; ok {
		return known
	}
	if len(c.order) == maxContents {
		delete(c.byID, c.order[0])
		c.order = c.order[1:]
	}
	e := &entry[T]{get: sync.OnceValues(compile)}
	c.byID[id] = e
	c.order = append(c.order, id)
	return e
}

// forget removes the entry, unless the mailing has another one by now.
func (c *compiled[T]) forget(id string, e *entry[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] == e {
		delete(c.byID, id)
		c.order = slices.DeleteFunc(c.order, func(other string) bool { return other == id })
	}
}

func compile(m mailings.Mailing) (*content, error) {
	in, err := decodeInput(m)
	if err != nil {
		return nil, err
	}
	date := m.CreatedAt
	if m.PreparedAt != nil {
		date = *m.PreparedAt
	}
	template, problems := render.Compile(Content(in, date))
	if len(problems) > 0 {
		return nil, fmt.Errorf("mailing %s: %w", m.ID, &problems[0])
	}
	pages, problems := Pages(in)
	if len(problems) > 0 {
		return nil, fmt.Errorf("mailing %s: %w", m.ID, &problems[0])
	}
	sender, err := in.Sender()
	if err != nil {
		return nil, err
	}
	return &content{template: template, pages: pages, envelope: sender.String()}, nil
}

// content returns a mailing by its ID, and its compiled content.
func (a *Activities) content(ctx context.Context, id string) (mailings.Mailing, *content, error) {
	m, err := a.mailing(ctx, id)
	if err != nil {
		return m, nil, err
	}
	c, err := a.contents.get(m.ID, func() (*content, error) { return compile(m) })
	return m, c, err
}
