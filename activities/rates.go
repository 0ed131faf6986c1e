package activities

import (
	"context"

	"directmailer/internal/delivery/rate"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/delivery/sender"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// allow returns the function by which package sender asks the rate limits of the mailing, the drop
// point and the recipient domain for permission to send a message.
func (a *Activities) allow(mailing int64) func(ctx context.Context, dropPoint, domain string) (sender.Wait, error) {
	scopes := []ratelimit.Scope{ratelimit.OfMailing(mailing), {}, {}}
	return func(ctx context.Context, dropPoint, domain string) (sender.Wait, error) {
		scopes[1], scopes[2] = ratelimit.OfDropPoint(dropPoint), ratelimit.OfDomain(domain)
		r, err := a.pacer.Ask(ctx, scopes)
		return sender.Wait{AskAgain: r.Wait, Total: r.Turn, Domain: r.Of == ratelimit.Domain}, err
	}
}

// SetRate sets the rate limit of the mailing, of a drop point or of a recipient domain. The latter
// two hold for all mailings.
func (a *Activities) SetRate(ctx context.Context, call workflows.RateCall) error {
	_, err := attempt(ctx, workflows.Retries{Database: call.Retry}, func(ctx context.Context) (struct{}, error) {
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return struct{}{}, err
		}
		scope := ratelimit.OfMailing(m.Key)
		switch c := call.Change; {
		case c.DropPoint != "":
			scope = ratelimit.OfDropPoint(c.DropPoint)
		case c.Domain != "":
			scope = ratelimit.OfDomain(c.Domain)
		}
		return struct{}{}, a.setRate(ctx, scope, call.Change.Rate)
	})
	return err
}

func (a *Activities) setRate(ctx context.Context, scope ratelimit.Scope, text workflows.Rate) error {
	r, err := rate.Parse(string(text))
	if err != nil {
		return failf(policy.InvalidInput, "rate: %v", err)
	}
	return a.pacer.Set(ctx, scope, r)
}

// setRates sets the limits of a mailing's input. It may run again: the result is the same.
func (a *Activities) setRates(ctx context.Context, mailing int64, r workflows.Rates) error {
	if r.Mailing != "" {
		if err := a.setRate(ctx, ratelimit.OfMailing(mailing), r.Mailing); err != nil {
			return err
		}
	}
	for name, limit := range r.DropPoints {
		if err := a.setRate(ctx, ratelimit.OfDropPoint(name), limit); err != nil {
			return err
		}
	}
	for name, limit := range r.Domains {
		if err := a.setRate(ctx, ratelimit.OfDomain(name), limit); err != nil {
			return err
		}
	}
	return nil
}
