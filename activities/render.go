package activities

import (
	"context"
	"errors"
	"fmt"

	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/internal/render"
	"directmailer/internal/spool"
	"directmailer/workflows"
)

// RenderBatch composes the exact bytes of a batch's messages into the spool. A recipient whose message cannot be made is failed, with
// the reason, and the batch goes on. Repeated, it leaves what is there: bytes that may have been sent never change.
func (a *Activities) RenderBatch(ctx context.Context, call workflows.RenderCall) (workflows.Rendered, error) {
	return attempt(ctx, call.Retry, func(ctx context.Context) (workflows.Rendered, error) {
		m, c, err := a.content(ctx, call.Mailing)
		if err != nil {
			return workflows.Rendered{}, err
		}
		batch := ledger.Batch{Mailing: m.Key, Number: int32(call.Batch)}
		first, last, rendered, err := a.ledger.Range(ctx, batch)
		if err != nil || rendered {
			return workflows.Rendered{}, err
		}
		encoder, err := a.shelf.Encoder()
		if err != nil {
			return workflows.Rendered{}, err
		}
		defer a.shelf.KeepEncoder(encoder)
		blob, failures, err := a.renderRange(ctx, encoder, m, c, first, last)
		if err != nil {
			return workflows.Rendered{}, err
		}
		if err := a.ledger.Store(ctx, batch, blob, failures); err != nil {
			return workflows.Rendered{}, err
		}
		return workflows.Rendered{Messages: int(last-first) + 1 - len(failures), Failed: len(failures)}, nil
	})
}

// renderRange returns a blob that is valid until the encoder is reset.
func (a *Activities) renderRange(ctx context.Context, encoder *spool.Encoder, m mailings.Mailing, c *content, first, last int32) ([]byte, []ledger.Failure, error) {
	renderer := c.template.NewRenderer()
	var failures []ledger.Failure
	var buf []byte
	err := a.mailings.Recipients(ctx, m.Key, first, last, func(r mailings.Recipient) error {
		data, info, err := renderer.Render(buf[:0], render.Recipient{Number: r.Number, Address: r.Address, Attributes: r.Attributes})
		var problem *render.Problem
		if errors.As(err, &problem) {
			failures = append(failures, ledger.Failure{Recipient: r.Number, Reason: problem.Error()})
			return nil
		}
		if err != nil {
			return fmt.Errorf("render recipient %d: %w", r.Number, err)
		}
		buf = data
		return encoder.Add(&spool.Entry{Recipient: r.Number, From: c.envelope, To: r.Address, UTF8: info.NeedsUTF8, Data: data})
	})
	if err != nil {
		return nil, nil, err
	}
	blob, err := encoder.Finish()
	return blob, failures, err
}
