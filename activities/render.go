package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"directmailer/internal/audience/recipients"
	"directmailer/internal/content"
	"directmailer/internal/content/render"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// RenderBatch composes the exact bytes of a batch's messages and stores them in the spool. A
// recipient whose message cannot be composed gets the outcome failed, with the reason, and the
// batch goes on. If none of the mailing's first recipients has a message, RenderBatch stores
// nothing, see [workflows.RenderCall]. If the batch is rendered already, RenderBatch does nothing:
// bytes that may have been sent never change.
func (a *Activities) RenderBatch(ctx context.Context, call workflows.RenderCall) (workflows.Rendered, error) {
	w := work{policy.RenderBatch, call.Mailing}
	return withSlots(ctx, a.slots.renders, w, call.Retry, func(ctx context.Context, t *timed) (workflows.Rendered, error) {
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return workflows.Rendered{}, err
		}
		batch := ledger.Batch{Mailing: m.Key, Number: int32(call.Batch)}
		var end func(stored bool)
		span, rendered, err := a.ledger.Range(ctx, batch)
		if err == nil && !rendered {
			end, rendered, err = a.beginRendering(ctx, batch, span)
		}
		if err != nil || rendered {
			return workflows.Rendered{}, err
		}
		stored := false
		defer func() { end(stored) }() // also after a panic
		out, err := a.renderBatch(ctx, call, rendering{mailing: m, batch: batch, span: span, timed: t})
		stored = err == nil
		return out, err
	})
}

// rendering is a batch that is rendered.
type rendering struct {
	mailing mailings.Mailing
	content *content.Content
	batch   ledger.Batch
	span    ledger.Span
	timed   *timed
}

// renderBatch renders and stores a batch whose attempt is counted.
func (a *Activities) renderBatch(
	ctx context.Context, call workflows.RenderCall, r rendering,
) (workflows.Rendered, error) {
	var err error
	if r.content, err = a.contentOf(r.mailing); err != nil {
		return workflows.Rendered{}, err
	}
	if err := a.mailings.NoteSignatures(ctx, r.mailing, r.content.Signer.Names()); err != nil {
		return workflows.Rendered{}, err
	}
	encoder, err := a.buffers.GetEncoder()
	if err != nil {
		return workflows.Rendered{}, err
	}
	defer a.buffers.PutEncoder(encoder)
	blob, failures, err := a.compose(ctx, encoder, r)
	if err != nil {
		return workflows.Rendered{}, err
	}
	if call.Sample > 0 && len(failures) == r.span.Len() {
		if err := a.sampled(ctx, r, call.Sample, failures); err != nil {
			return workflows.Rendered{}, err
		}
	}
	if err := a.ledger.Store(ctx, r.batch, blob, failures); err != nil {
		if r.content.Pages != nil { // do not fetch the pages again because the database is unavailable
			all := partialBatch{last: math.MaxInt32, failures: failures, messages: bytes.Clone(blob)}
			a.partials.Put(r.batch, all)
		}
		return workflows.Rendered{}, err
	}
	failed := 0
	for _, f := range failures {
		if !f.Later {
			failed++
		}
	}
	return workflows.Rendered{Messages: r.span.Len() - len(failures), Failed: failed}, nil
}

// compose returns the spool of a batch, valid until the encoder is reset, and the recipients
// without a message. If it is stopped in the middle, by the page server or because the batch is
// slow, the messages that were composed are kept for the next attempt.
func (a *Activities) compose(
	ctx context.Context, encoder *spool.Encoder, r rendering,
) ([]byte, []ledger.Failure, error) {
	w := newComposer(ctx, r, encoder)
	before, _ := a.partials.Take(r.batch)
	if err := w.resume(before); err != nil {
		return nil, nil, err
	}
	last := before.last
	add := a.addAll
	if r.content.Pages != nil {
		add = a.addPages
	}
	err := add(ctx, w, r, &last)
	blob, finished := w.encoder.Finish()
	if err == nil {
		return blob, w.failures, finished
	}
	goesOn := r.content.Pages != nil || errors.Is(context.Cause(ctx), errSlotsTaken)
	if finished == nil && last > 0 && goesOn {
		a.partials.Put(r.batch, partialBatch{last: last, failures: w.failures, messages: bytes.Clone(blob)})
	}
	return nil, nil, err
}

// addAll composes the messages of a batch without pages, after those until last. It sets last to
// the number of each recipient that is done.
func (a *Activities) addAll(ctx context.Context, w *composer, r rendering, last *int32) error {
	return a.eachRecipient(ctx, r, func(to recipients.Recipient) error {
		if to.Number <= *last {
			return nil
		}
		if err := w.add(to, render.Page{}); err != nil {
			return err
		}
		*last = to.Number
		return nil
	})
}

// eachRecipient calls each for the recipients of a batch, in the order of their numbers.
func (a *Activities) eachRecipient(ctx context.Context, r rendering, each func(recipients.Recipient) error) error {
	if r.span.Members != nil {
		return a.recipients.Numbered(ctx, r.mailing.Key, r.span.Members, each)
	}
	return a.recipients.Range(ctx, r.mailing.Key, r.span.First, r.span.Last, each)
}

// composer composes the messages of one batch.
type composer struct {
	content  *content.Content
	renderer *render.Renderer
	encoder  *spool.Encoder
	timed    *timed
	failures []ledger.Failure
	pages    int // that were fetched
	buf      []byte
}

func newComposer(ctx context.Context, r rendering, encoder *spool.Encoder) *composer {
	renderer := r.content.Template.NewRenderer(ctx)
	return &composer{content: r.content, renderer: renderer, encoder: encoder, timed: r.timed}
}

// add composes the message for r, or records why it cannot.
func (w *composer) add(r recipients.Recipient, p render.Page) error {
	if err := w.timed.took(w.renderer.Steps()); err != nil {
		return err
	}
	to := recipient(w.content, r)
	to.Page = p
	data, info, err := w.renderer.Render(w.buf[:0], to)
	var problem *render.Problem
	if errors.As(err, &problem) {
		w.failures = append(w.failures, ledger.Failure{Recipient: r.Number, Reason: problem.Error()})
		return nil
	}
	if err != nil {
		return fmt.Errorf("render recipient %d: %w", r.Number, err)
	}
	w.buf = data
	return w.encoder.Add(&spool.Entry{
		Recipient: r.Number, From: w.content.EnvelopeSender(r.Number), To: r.Address, UTF8: info.NeedsUTF8, Data: data,
	})
}

func recipient(c *content.Content, r recipients.Recipient) render.Recipient {
	to := render.Recipient{Number: r.Number, Address: r.Address, Attributes: r.Attributes}
	if c.Test {
		to.Email = r.Attributes[recipients.TestEmail].Text
	}
	return to
}
