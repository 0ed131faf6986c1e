package activities

import (
	"context"

	"directmailer/internal/delivery/rate"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/delivery/sender"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// allow asks the rate limits about a mailing's messages, for package sender.
func (a *Activities) allow(mailing int64) func(ctx context.Context, dropPoint, domain string) (sender.Wait, error) {
	scopes := []ratelimit.Scope{ratelimit.OfMailing(mailing), {}, {}}
	return func(ctx context.Context, dropPoint, domain string) (sender.Wait, error) {
		scopes[1], scopes[2] = ratelimit.OfDropPoint(dropPoint), ratelimit.OfDomain(domain)
		r, err := a.pacer.Ask(ctx, scopes)
		return sender.Wait{AskAgain: r.Wait, Total: r.Turn, Domain: r.Of == ratelimit.Domain}, err
	}
}

// SetRate sets a rate limit: of the mailing, or one that holds for all mailings.
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
		return fail(policy.InvalidInput, "rate: %v", err)
	}
	return a.pacer.Set(ctx, scope, r)
}

// setRates sets the limits that a mailing's input names. Repeated, it changes nothing.
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
