package smtp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestLogInsRememberWhatWorkedAndWhatWasRefused(t *testing.T) {
	t.Parallel()
	l := &LogIns{}
	want := func(names ...string) {
		t.Helper()
		if got := l.order([]string{"SCRAM-SHA-256", "CRAM-MD5", "PLAIN"}); !slices.Equal(got, names) {
			t.Errorf("got %v, want %v", got, names)
		}
	}
	want("SCRAM-SHA-256", "CRAM-MD5", "PLAIN")
	l.refused("SCRAM-SHA-256")
	want("CRAM-MD5", "PLAIN", "SCRAM-SHA-256")
	l.worked("PLAIN")
	want("PLAIN", "CRAM-MD5", "SCRAM-SHA-256")
	l.refused("PLAIN")
	want("CRAM-MD5", "SCRAM-SHA-256", "PLAIN")
	l.worked("SCRAM-SHA-256") // it works after all
	want("SCRAM-SHA-256", "CRAM-MD5", "PLAIN")
	for _, name := range []string{"SCRAM-SHA-256", "CRAM-MD5", "PLAIN"} {
		l.refused(name) // a wrong password says nothing of the mechanisms
	}
	want("SCRAM-SHA-256", "CRAM-MD5", "PLAIN")
	l.refused("SCRAM-SHA-256")
	want("CRAM-MD5", "PLAIN", "SCRAM-SHA-256")
}

// A resolver that does not answer takes no longer than a connection may.
func TestAnAddressThatIsLookedUpForLongTimesOut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := Dial(ctx, Options{Addr: "mx.example:25", Timeouts: Timeouts{Connect: time.Millisecond},
		Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
	if !errors.Is(err, errTime) || Classify(err) != Connection {
		t.Errorf("got %v", err)
	}
}
