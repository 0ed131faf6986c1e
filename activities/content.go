package activities

import (
	"context"
	"fmt"
	"time"

	"directmailer/internal/content"
	"directmailer/internal/mailings"
)

// content returns a mailing and its compiled content.
func (a *Activities) content(ctx context.Context, id string) (mailings.Mailing, *content.Content, error) {
	m, err := a.mailing(ctx, id)
	if err != nil {
		return m, nil, err
	}
	c, err := a.contents.Get(m.ID, func() (*content.Content, error) { return compile(m) })
	return m, c, err
}

// compile compiles the content of a mailing.
func compile(m mailings.Mailing) (*content.Content, error) {
	in, err := decodeInput(m)
	if err != nil {
		return nil, err
	}
	c, err := content.Compile(in, dateOf(m))
	if err != nil {
		return nil, fmt.Errorf("mailing %s: %w", m.ID, err)
	}
	return c, nil
}

// dateOf returns the Date header of the mailing's messages. A message that is rendered again has
// the same date.
func dateOf(m mailings.Mailing) time.Time {
	if m.PreparedAt == nil {
		return m.CreatedAt
	}
	return *m.PreparedAt
}
