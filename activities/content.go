package activities

import (
	"fmt"
	"time"

	"directmailer/internal/content"
	"directmailer/internal/mailings"
)

// contentOf returns a mailing's compiled content.
func (a *Activities) contentOf(m mailings.Mailing) (*content.Content, error) {
	return a.contents.Get(m.ID, func() (*content.Content, error) { return a.compile(m) })
}

// compile compiles the content of a mailing, with the links that were fixed when it was opened.
func (a *Activities) compile(m mailings.Mailing) (*content.Content, error) {
	in, err := decodeInput(m)
	if err != nil {
		return nil, err
	}
	links, err := a.Feedback.Links(m.Key, m.Marks)
	if err != nil {
		return nil, err
	}
	if in.Test {
		links = links.ForTest()
	}
	c, err := content.Compile(in, m.Origin, dateOf(m), a.Keys, links)
	if err != nil {
		return nil, fmt.Errorf("mailing %s: %w", m.ID, err)
	}
	if c.Signer == nil && len(a.Keys.Names()) > 0 {
		a.log.Warn("messages are not signed: DM_DKIM has no key for the domain of From", "mailing", m.ID)
	}
	return c, nil
}

// dateOf returns the Date header of the mailing's messages, which is the time of their signatures,
// too. A message that is rendered again has the same.
func dateOf(m mailings.Mailing) time.Time {
	if m.PreparedAt == nil {
		return m.CreatedAt
	}
	return *m.PreparedAt
}
