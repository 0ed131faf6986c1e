package activities

import (
	"context"
	"errors"
	"io"
	"net/url"

	"directmailer/internal/audience/recipients"
	"directmailer/internal/content"
	"directmailer/internal/content/page"
	"directmailer/internal/content/render"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/fifo"
	"directmailer/internal/ledger"
	"directmailer/workflows"
)

// addPages is addAll for a mailing with pages.
func (a *Activities) addPages(ctx context.Context, w *composer, r rendering, last *int32) error {
	// Read all recipients first, so that no database connection is in use while pages are fetched.
	var open []recipients.Recipient
	err := a.eachRecipient(ctx, r, func(to recipients.Recipient) error {
		if to.Number > *last {
			open = append(open, to)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.timed.start()
	return a.fetchAll(ctx, w, r, open, last)
}

// pagesOf returns whose pages are fetched.
func pagesOf(r rendering) page.Batch { return page.Batch{Mailing: r.mailing.ID, Slow: r.timed.slow} }

// maxPagesInARow is how many pages in a row may fail with 5xx before the server counts as
// unavailable.
const maxPagesInARow = 3

// fetchAll is fetch that passes over recipients at whose pages the server fails, while it answers
// others: they are deferred. In a later round there may be no others, so again is enough.
func (a *Activities) fetchAll(
	ctx context.Context, w *composer, r rendering, open []recipients.Recipient, last *int32,
) error {
	again := r.span.Members != nil
	var passed []ledger.Failure // since the last page that was not unavailable
	for {
		before := *last
		err := a.fetch(ctx, w, r, open, last)
		if *last != before {
			w.failures = append(w.failures, passed...)
			passed = nil
		}
		for len(open) > 0 && open[0].Number <= *last {
			open = open[1:]
		}
		var away *page.Unavailable
		switch {
		case err == nil && len(passed) > 0 && w.pages == 0 && !again:
			return &page.Unavailable{Cause: passed[0].Reason}
		case err == nil:
			w.failures = append(w.failures, passed...)
			return nil
		case !errors.As(err, &away) || !away.Fails || len(open) == 0 || len(passed)+1 >= maxPagesInARow:
			return err
		}
		passed = append(passed, ledger.Failure{Recipient: open[0].Number, Reason: away.Cause, Later: true})
		open = open[1:]
	}
}

// fetch composes the messages of recipients from their pages, and sets last to the number of each
// recipient that is done.
func (a *Activities) fetch(
	ctx context.Context, w *composer, r rendering, open []recipients.Recipient, last *int32,
) error {
	locator := w.content.Pages.NewLocator(ctx)
	locate := func(i int) (*url.URL, error) { return locator.Locate(recipient(w.content, open[i])) }
	return a.pages.Each(ctx, pagesOf(r), w.content.Pages, len(open), locate, func(i int, p render.Page, err error) error {
		var unlocated *render.Problem
		var failed *page.Failure
		switch {
		case errors.As(err, &unlocated), errors.As(err, &failed):
			w.failures = append(w.failures, ledger.Failure{Recipient: open[i].Number, Reason: err.Error()})
		case err != nil:
			return err
		default:
			w.pages++
			if err := w.add(open[i], p); err != nil {
				return err
			}
		}
		*last = open[i].Number
		return nil
	})
}

// checkPages returns a problem for each page host that this worker refuses to connect to. Without
// this check, every recipient of such a mailing would fail.
func (a *Activities) checkPages(ctx context.Context, in workflows.Input) []render.Problem {
	source, problems := content.Pages(in)
	if source == nil || len(problems) > 0 { // content.Check returns these problems
		return nil
	}
	return a.pages.Check(ctx, source)
}

// resume adds what an earlier attempt has composed.
func (w *composer) resume(b partialBatch) error {
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
		w.pages++
	}
}

// partialBatch holds what an attempt has composed of a batch before it was stopped.
type partialBatch struct {
	last     int32 // number of the last recipient with a message or a failure; 0 if there is none
	failures []ledger.Failure
	messages []byte // a blob of package spool
}

// maxPartial limits the messages of partial batches that a worker keeps: 32 MiB of compressed
// messages, which is about 100 batches of 500.
const maxPartial = 32 << 20

// newPartials returns a cache of partial batches with up to limit bytes of messages. Because of it,
// a failure of the page server does not make the worker fetch the pages of a whole batch again. If
// the batch is not in the cache, its pages are fetched from the first recipient on.
func newPartials(limit int) *fifo.Cache[ledger.Batch, partialBatch] {
	return fifo.New[ledger.Batch](limit, func(b partialBatch) int { return len(b.messages) })
}
