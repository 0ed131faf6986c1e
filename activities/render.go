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
)

// RenderBatch composes the exact bytes of a batch's messages and stores them in the spool. A
// recipient whose message cannot be composed gets the outcome failed, with the reason, and the
// batch goes on. If none of the mailing's first recipients has a message, RenderBatch stores
// nothing, see [workflows.RenderCall]. If the batch is rendered already, RenderBatch does nothing:
// bytes that may have been sent never change.
func (a *Activities) RenderBatch(ctx context.Context, call workflows.RenderCall) (workflows.Rendered, error) {
	return attempt(ctx, call.Retry, func(ctx context.Context) (workflows.Rendered, error) {
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
		out, err := a.renderBatch(ctx, call, m, batch, span)
		stored = err == nil
		return out, err
	})
}

// renderBatch renders and stores a batch whose attempt is counted.
func (a *Activities) renderBatch(
	ctx context.Context, call workflows.RenderCall, m mailings.Mailing, batch ledger.Batch, span ledger.Span,
) (workflows.Rendered, error) {
	c, err := a.contentOf(m)
	if err != nil {
		return workflows.Rendered{}, err
	}
	if err := a.mailings.NoteSignatures(ctx, m, c.Signer.Names()); err != nil {
		return workflows.Rendered{}, err
	}
	encoder, err := a.buffers.GetEncoder()
	if err != nil {
		return workflows.Rendered{}, err
	}
	defer a.buffers.PutEncoder(encoder)
	blob, failures, err := a.compose(ctx, encoder, m, c, batch, span)
	if err != nil {
		return workflows.Rendered{}, err
	}
	if call.Sample > 0 && len(failures) == span.Len() {
		if err := a.sampled(ctx, m, c, call.Sample, failures); err != nil {
			return workflows.Rendered{}, err
		}
	}
	if err := a.ledger.Store(ctx, batch, blob, failures); err != nil {
		if c.Pages != nil { // do not fetch the pages again because the database is unavailable
			all := partialBatch{last: math.MaxInt32, failures: failures, messages: bytes.Clone(blob)}
			a.partials.Put(batch, all)
		}
		return workflows.Rendered{}, err
	}
	failed := 0
	for _, f := range failures {
		if !f.Later {
			failed++
		}
	}
	return workflows.Rendered{Messages: span.Len() - len(failures), Failed: failed}, nil
}

// compose returns the spool of a batch, valid until the encoder is reset, and the recipients
// without a message.
func (a *Activities) compose(
	ctx context.Context, encoder *spool.Encoder, m mailings.Mailing, c *content.Content,
	batch ledger.Batch, span ledger.Span,
) ([]byte, []ledger.Failure, error) {
	if c.Pages != nil {
		return a.renderPages(ctx, encoder, m, c, batch, span)
	}
	return a.renderSpan(ctx, encoder, m, c, span)
}

// renderSpan composes the messages of a batch without pages.
func (a *Activities) renderSpan(
	ctx context.Context, encoder *spool.Encoder, m mailings.Mailing, c *content.Content, span ledger.Span,
) ([]byte, []ledger.Failure, error) {
	w := newComposer(ctx, c, encoder)
	err := a.eachRecipient(ctx, m, span, func(r recipients.Recipient) error { return w.add(r, render.Page{}) })
	if err != nil {
		return nil, nil, err
	}
	blob, err := w.encoder.Finish()
	return blob, w.failures, err
}

// eachRecipient calls each for the recipients of a span, in the order of their numbers.
func (a *Activities) eachRecipient(
	ctx context.Context, m mailings.Mailing, span ledger.Span, each func(recipients.Recipient) error,
) error {
	if span.Members != nil {
		return a.recipients.Numbered(ctx, m.Key, span.Members, each)
	}
	return a.recipients.Range(ctx, m.Key, span.First, span.Last, each)
}

// composer composes the messages of one batch.
type composer struct {
	content  *content.Content
	renderer *render.Renderer
	encoder  *spool.Encoder
	failures []ledger.Failure
	pages    int // that were fetched
	buf      []byte
}

func newComposer(ctx context.Context, c *content.Content, encoder *spool.Encoder) *composer {
	return &composer{content: c, renderer: c.Template.NewRenderer(ctx), encoder: encoder}
}

// add composes the message for r, or records why it cannot.
func (w *composer) add(r recipients.Recipient, p render.Page) error {
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
