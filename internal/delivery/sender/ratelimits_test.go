package sender_test

import (
	"context"
	"testing"
	"time"

	"directmailer/internal/delivery/sender"
)

// Every attempt asks the limits of its drop point and of its recipient's domain, and is made only
// when they allow it.
func TestEachMessageIsAllowedByTheRateLimits(t *testing.T) {
	t.Parallel()
	const allowed = 37
	r := newRig(t, "connections=2", nil)
	asked := 0
	report, err := run(t.Context(), r.batch(r.claim("m", false), func(b *sender.Batch) {
		b.Allow = func(_ context.Context, dropPoint, domain string) (sender.Wait, error) {
			if dropPoint != "mx" || domain != "example.com" {
				t.Errorf("the limits were asked for drop point %q and domain %q", dropPoint, domain)
			}
			if asked == allowed {
				return sender.Wait{AskAgain: time.Hour, Total: time.Hour}, nil
			}
			asked++
			return sender.Wait{}, nil
		}
	}))
	if err != nil || report.Complete || report.NotBefore.IsZero() || !report.LimitsAll {
		t.Errorf("%+v, %v: the batch waits for the limit", report, err)
	}
	if got := len(r.server.Received()); got != allowed {
		t.Errorf("%d messages were accepted, %d were allowed", got, allowed)
	}
}

// Messages to other domains pass a message that waits for the limit of its domain.
func TestALimitOfADomainDelaysNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", nil)
	asked := 0
	report, err := run(t.Context(), r.batch(r.claim("m", false), func(b *sender.Batch) {
		b.Allow = func(context.Context, string, string) (sender.Wait, error) {
			if asked++; asked == 1 {
				return sender.Wait{AskAgain: time.Hour, Total: time.Hour, Domain: true}, nil
			}
			return sender.Wait{}, nil
		}
	}))
	if got := len(r.server.Received()); err != nil || got != recipients-1 || report.Complete ||
		report.NotBefore.IsZero() || report.LimitsAll {
		t.Errorf("%d messages; %+v, %v", got, report, err)
	}
}

func TestABatchWhoseTurnIsOverIsHandedBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", nil)
	report, err := run(t.Context(), r.batch(r.claim("m", false), func(b *sender.Batch) { b.Turn = time.Nanosecond }))
	if got := len(r.server.Received()); err != nil || report.Complete || got == recipients {
		t.Errorf("%d messages; %+v, %v", got, report, err)
	}
}

func TestABatchIsNotOverWhileItsLastMessageWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", nil)
	asked := 0
	report, err := run(t.Context(), r.batch(r.claim("m", false), func(b *sender.Batch) {
		b.Allow = func(context.Context, string, string) (sender.Wait, error) {
			if asked == recipients-1 {
				return sender.Wait{AskAgain: time.Hour, Total: time.Hour}, nil
			}
			asked++
			return sender.Wait{}, nil
		}
	}))
	if err != nil || report.Complete || report.NotBefore.IsZero() {
		t.Errorf("%+v, %v", report, err)
	}
}
