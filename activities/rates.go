package activities

import (
	"context"

	"directmailer/internal/delivery/rate"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/delivery/sender"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// allow returns the function by which package sender asks for permission to send a message: under
// the rate limits of the mailing, and under those of the drop point and of the recipient domain,
// both for all mailings together and for this one.
func (a *Activities) allow(mailing int64) func(ctx context.Context, dropPoint, domain string) (sender.Wait, error) {
	scopes := []ratelimit.Scope{ratelimit.OfMailing(mailing), {}, {}, {}, {}}
	return func(ctx context.Context, dropPoint, domain string) (sender.Wait, error) {
		scopes[1], scopes[2] = ratelimit.OfDropPoint(dropPoint), ratelimit.OfDomain(domain)
		scopes[3], scopes[4] = scopes[1].In(mailing), scopes[2].In(mailing)
		r, err := a.pacer.Ask(ctx, scopes)
		return sender.Wait{AskAgain: r.Wait, Total: r.Turn, Domain: r.Of == ratelimit.Domain}, err
	}
}

// SetRate sets a rate limit of the mailing: of all its messages, or of those to a drop point or to
// a recipient domain. No other mailing notices.
func (a *Activities) SetRate(ctx context.Context, call workflows.RateCall) error {
	_, err := attempt(ctx, workflows.Retries{Database: call.Retry}, func(ctx context.Context) (struct{}, error) {
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return struct{}{}, err
		}
		scope := ratelimit.OfMailing(m.Key)
		switch c := call.Change; {
		case c.DropPoint != "":
			scope = ratelimit.OfDropPoint(c.DropPoint).In(m.Key)
		case c.Domain != "":
			scope = ratelimit.OfDomain(c.Domain).In(m.Key)
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
		if err := a.setRate(ctx, ratelimit.OfDropPoint(name).In(mailing), limit); err != nil {
			return err
		}
	}
	for name, limit := range r.Domains {
		if err := a.setRate(ctx, ratelimit.OfDomain(name).In(mailing), limit); err != nil {
			return err
		}
	}
	return nil
}
