package sample

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"directmailer/internal/content"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/lint"
	"directmailer/internal/content/page"
	"directmailer/internal/content/render"
	"directmailer/internal/feedback"
	"directmailer/workflows"
)

// Result is what rendering a sample has shown. It holds no recipient data.
type Result struct {
	Rendered int // members of the sample
	Failed   int // those without a message
	// Problems are the different problems, the commonest first.
	Problems []Problem
	// Findings are about the mailing and about the messages of the sample. Sizes are those of the
	// largest messages.
	Findings []lint.Finding
	Sizes    lint.Sizes
}

// Problem is a problem of recipients.
type Problem struct {
	render.Problem
	Recipients int // of the sample
}

// Refused reports whether the mailing must not start: no recipient of the sample has a message, or
// the template fails whatever the values are.
func (r *Result) Refused() bool {
	return r.Failed > 0 && (r.Failed == r.Rendered || slices.ContainsFunc(r.Problems, Problem.isOfTemplate))
}

// Reasons returns the problems for which the mailing is refused, and all others.
func (r *Result) Reasons() (refused, others []Problem) {
	if r.Failed == r.Rendered {
		return r.Problems, nil
	}
	for _, p := range r.Problems {
		if p.isOfTemplate() {
			refused = append(refused, p)
		} else {
			others = append(others, p)
		}
	}
	return refused, others
}

func (p Problem) isOfTemplate() bool { return p.OfTemplate }

// Trial is the content of a mailing, compiled. It is not safe for concurrent use.
type Trial struct {
	in       workflows.Input
	known    Known
	content  *content.Content
	renderer *render.Renderer
	locator  *page.Locator // nil: no pages
	message  []byte        // the one that was rendered last
}

// Known is what this process knows of the settings of workers.
type Known struct {
	Keys dkim.Keys // that sign the messages
	// KeysNotRead is true if there are keys for From's domain, and this process cannot read them.
	KeysNotRead bool
	// Feedback makes the unsubscribe links. Without its settings, links stand in the messages that
	// lead nowhere.
	Feedback feedback.Settings
}

// NewTrial compiles the content of an input, whose templates must have no problem. The Trial ends
// with the context.
func NewTrial(ctx context.Context, in workflows.Input, known Known) (*Trial, error) {
	c, err := content.Compile(in, in.Audience(), time.Unix(0, 0), known.Keys, links(known.Feedback).PreviewLinks())
	if err != nil {
		return nil, err
	}
	return newTrial(ctx, in, c, known), nil
}

func newTrial(ctx context.Context, in workflows.Input, c *content.Content, known Known) *Trial {
	t := &Trial{in: in, known: known, content: c, renderer: c.Template.NewRenderer(ctx)}
	if c.Pages != nil {
		t.locator = c.Pages.NewLocator(ctx)
	}
	return t
}

// links returns the settings for the links of a sample. A link to this machine is no fault of the
// messages, so another one stands for it.
func links(s feedback.Settings) feedback.Settings {
	if s.IsLocal() {
		s.PublicURL = ""
	}
	return s
}

// Sample returns an empty sample for the content.
func (t *Trial) Sample() *Sample {
	s := New(t.content.Template.Fields())
	if t.locator != nil {
		s = New(nil) // the page's URL may use any field
	}
	if !content.CanUnsubscribe(t.in) {
		s.least = lint.Bulk + 1 // more recipients than that must be able to unsubscribe
	}
	return s
}

// Render renders the messages of a sample and looks at them. It fetches no page: each recipient has
// the same one.
func (t *Trial) Render(s *Sample) Result {
	all := s.Recipients()
	result := Result{Rendered: len(all)}
	counts := map[render.Problem]int{}
	linter := lint.NewLinter(t.in)
	for _, to := range all {
		if p := t.render(to); p != nil {
			result.Failed++
			counts[*p]++
			continue
		}
		linter.Message(t.message, to.Address, t.locator != nil)
	}
	result.Findings = linter.Findings(lint.Setup{
		Recipients: int64(s.seen), NoLinks: !t.known.Feedback.CanUnsubscribe(),
		LocalLinks: t.known.Feedback.IsLocal(), KeysNotRead: t.known.KeysNotRead,
	})
	result.Sizes = linter.Sizes()
	for p, n := range counts {
		result.Problems = append(result.Problems, Problem{p, n})
	}
	slices.SortFunc(result.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(b.Recipients, a.Recipients), cmp.Compare(a.Error(), b.Error()))
	})
	return result
}

// render returns why a recipient has no message, or nil.
func (t *Trial) render(to render.Recipient) *render.Problem {
	var err error
	if t.locator != nil {
		to.Page = render.Page{HTML: []byte("<p>A page</p>")}
		_, err = t.locator.Locate(to)
	}
	if err == nil {
		t.message, _, err = t.renderer.Render(t.message[:0], to)
	}
	var problem *render.Problem
	var failure *page.Failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &failure):
		return &render.Problem{Field: failure.Field, Message: failure.Reason}
	}
	return &render.Problem{Field: render.FieldContent, Message: err.Error()} // it names no recipient
}
