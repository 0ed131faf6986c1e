package activities

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"sync"

	"directmailer/internal/content"
	"directmailer/internal/content/page"
	"directmailer/internal/content/render"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
)

// renderPages is renderSpan for a mailing whose pages are fetched. When the page server fails in the middle, what has been composed is
// kept for the next attempt.
func (a *Activities) renderPages(
	ctx context.Context, encoder *spool.Encoder, m mailings.Mailing, c *content.Content, batch ledger.Batch, span ledger.Span) ([]byte, []ledger.Failure, error) {
	w := newComposer(c, encoder)
	before := a.begun.take(batch)
	if err := w.resume(before); err != nil {
		return nil, nil, err
	}
	// All of them first: no connection to the database is held while pages are waited for.
	var open []mailings.Recipient
	err := a.recipients(ctx, m, span, func(r mailings.Recipient) error {
		if r.Number > before.last {
			open = append(open, r)
		}
		return nil
	})
	if err == nil {
		err = a.fetch(ctx, m.ID, w, open, &before.last)
	}
	blob, finished := w.encoder.Finish()
	if err != nil {
		if finished == nil && before.last > 0 {
			a.begun.put(batch, begunBatch{last: before.last, failures: w.failures, messages: bytes.Clone(blob)})
		}
		return nil, nil, err
	}
	return blob, w.failures, finished
}

// fetch composes the messages of recipients from their pages; last is the number of the latest that is done.
func (a *Activities) fetch(ctx context.Context, mailing string, w *composer, open []mailings.Recipient, last *int32) error {
	locator := w.content.Pages.NewLocator()
	locate := func(i int) (*url.URL, error) { return locator.Locate(recipient(open[i])) }
	return a.pages.Each(ctx, mailing, w.content.Pages, len(open), locate, func(i int, p render.Page, err error) error {
		var unlocated *render.Problem
		var failed *page.Failure
		switch {
		case errors.As(err, &unlocated), errors.As(err, &failed):
			w.failures = append(w.failures, ledger.Failure{Recipient: open[i].Number, Reason: err.Error()})
		case err != nil:
			return err
		default:
			if err := w.add(open[i], p); err != nil {
				return err
			}
		}
		*last = open[i].Number
		return nil
	})
}

// checkPages returns a problem for each page host that this worker refuses to ask. Without this check,
// every recipient of such a mailing would be failed.
func (a *Activities) checkPages(ctx context.Context, in workflows.Input) []render.Problem {
	source, problems := content.Pages(in)
	if source == nil || len(problems) > 0 { // content.Check returns these problems
		return nil
	}
	return a.pages.Check(ctx, source)
}

// resume takes over what an earlier attempt has composed.
func (w *composer) resume(b begunBatch) error {
	if b.last == 0 {
		return nil
	}
	w.failures = b.failures
	r, err := spool.NewReader()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Reset(b.messages); err != nil {
		return err
	}
	for {
		var e spool.Entry
		switch err := r.Next(&e); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := w.encoder.Add(&e); err != nil {
			return err
		}
	}
}

// begunBatch is a batch of which some messages are composed.
type begunBatch struct {
	last     int32 // number of the last recipient who is done, with a message or with a failure; 0: nobody
	failures []ledger.Failure
	messages []byte // a blob of package spool
}

// begun keeps batches that the page server has interrupted, so that not all of a batch is fetched again because of one page. It is a
// saving only: a batch that is not here, because this worker has died or another one has taken it, is fetched from its beginning.
type begun struct {
	mu      sync.Mutex
	most    int // octets of messages
	size    int
	batches map[ledger.Batch]begunBatch
	order   []ledger.Batch // oldest first
}

// maxBegun bounds the messages that a worker keeps, compressed as they are: some 100 batches of 500.
const maxBegun = 32 << 20

func newBegun(most int) *begun { return &begun{most: most, batches: map[ledger.Batch]begunBatch{}} }

// take returns a batch and forgets it; the zero begunBatch when it is not here.
func (b *begun) take(batch ledger.Batch) begunBatch {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.remove(batch)
}

func (b *begun) remove(batch ledger.Batch) begunBatch {
	found, ok := b.batches[batch]
	if !ok {
		return begunBatch{}
	}
	delete(b.batches, batch)
	b.size -= len(found.messages)
	for i, other := range b.order {
		if other == batch {
			b.order = append(b.order[:i], b.order[i+1:]...)
			break
		}
	}
	return found
}

// put keeps a batch, and forgets the oldest if there is no room.
func (b *begun) put(batch ledger.Batch, what begunBatch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(batch)
	if len(what.messages) > b.most {
		return
	}
	for b.size+len(what.messages) > b.most && len(b.order) > 0 {
		b.remove(b.order[0])
	}
	b.batches[batch] = what
	b.order = append(b.order, batch)
	b.size += len(what.messages)
}
