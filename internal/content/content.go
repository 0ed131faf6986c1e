// Package content compiles what a mailing's input says of its messages: templates, pages and the
// envelope sender. It also checks them, and the fields that they use, before a mailing starts.
package content

import (
	"strings"
	"time"

	"directmailer/internal/audience/address"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/message"
	"directmailer/internal/content/page"
	"directmailer/internal/content/render"
	"directmailer/internal/feedback"
	"directmailer/workflows"
)

// Content is the compiled content of one mailing. It is safe for concurrent use.
type Content struct {
	Template *render.Template
	Pages    *page.Locations // nil: no page is fetched
	Signer   *dkim.Signer    // nil: messages are not signed
	Links    *feedback.Links // of the mailing's recipients; nil: there are none
	Test     bool            // its recipients have the fields of others
	envelope envelope
}

// Compile compiles the content of an input, as [Spec] gives it. If keys has a key for the domain of
// From, every message is signed. The error is the first [render.Problem] of the input.
func Compile(
	in workflows.Input, origin string, date time.Time, keys dkim.Keys, links *feedback.Links,
) (*Content, error) {
	spec := Spec(in, origin, date, links)
	if from, err := address.ParseMailbox(in.From); err == nil {
		spec.Signer = keys.For(from.Address.Domain())
	}
	template, problems := render.Compile(spec)
	if len(problems) > 0 {
		return nil, &problems[0]
	}
	if CanUnsubscribe(in) && links.UnsubscribeURL(1) == "" { // refused when the mailing was opened
		return nil, &render.Problem{Field: render.FieldUnsubscribe, Message: "there are no links for it"}
	}
	pages, problems := Pages(in)
	if len(problems) > 0 {
		return nil, &problems[0]
	}
	envelope, err := envelopeOf(in, links)
	if err != nil {
		return nil, err
	}
	return &Content{
		Template: template, Pages: pages, Signer: spec.Signer, Links: links, Test: in.Test, envelope: envelope,
	}, nil
}

// CanUnsubscribe reports whether the recipients of a mailing can unsubscribe by its links.
func CanUnsubscribe(in workflows.Input) bool { return in.Unsubscribe != workflows.UnsubscribeNone }

// Spec returns the part of an input that package render compiles. origin is where the recipients
// come from, also through continued mailings, in the words of [workflows.Input.Audience]. date is
// the Date header of all messages, links are those of the recipients.
func Spec(in workflows.Input, origin string, date time.Time, links *feedback.Links) render.Spec {
	s := render.Spec{
		Mailing: in.ID, From: in.From, ReplyTo: in.ReplyTo, ToName: in.ToName, Subject: in.Subject, Headers: in.Headers,
		Date: date, Text: in.Content.Text, HTML: in.Content.HTML, Static: in.Content.Static, Page: HasPages(in),
		Test: in.Test,
	}
	if from, err := address.ParseMailbox(in.From); err == nil {
		domain := from.Address.Domain()
		s.ListID = listID(origin, domain)
		s.Fields = append(s.Fields, feedbackID(in.ID, origin, domain))
	}
	if CanUnsubscribe(in) {
		s.Unsubscribe = links
	} else {
		s.Fields = append(s.Fields, message.Field{Name: "Auto-Submitted", Value: "auto-generated"}) // RFC 3834, 5
	}
	return s
}

// HasPages reports whether the bodies of a mailing's messages are fetched.
func HasPages(in workflows.Input) bool {
	return in.Content.PageURL != "" || in.Content.PageColumn != ""
}

// Pages returns where the pages of a mailing's recipients are. It returns nil when the content of
// the mailing is not fetched.
func Pages(in workflows.Input) (*page.Locations, []render.Problem) {
	if !HasPages(in) {
		return nil, nil
	}
	return page.NewLocations(in.Content.PageURL, in.Content.PageColumn, in.Content.PageHosts)
}

// Check compiles the input's templates and its page URL and returns every problem of them. It
// leaves problems of the input's addresses to [workflows.Input.Validate].
func Check(in workflows.Input) []render.Problem {
	if len(in.TooLarge()) > 0 {
		return nil // the input has that problem, and nothing of it is compiled
	}
	_, problems := render.Compile(Spec(in, in.Audience(), time.Unix(0, 0), feedback.Settings{}.PreviewLinks()))
	var out []render.Problem
	for _, p := range problems {
		if isTemplate(p.Field) {
			out = append(out, p)
		}
	}
	_, problems = Pages(in)
	return append(out, problems...)
}

// isTemplate reports whether a field of the input is a template, or the contents or the headers as
// a whole.
func isTemplate(field string) bool {
	return field == render.FieldSubject || field == render.FieldToName ||
		strings.HasPrefix(field, render.FieldContent) || strings.HasPrefix(field, render.FieldHeaders)
}
