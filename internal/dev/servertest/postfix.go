package servertest

import (
	"context"
	"errors"
	"os"
	"testing"

	"directmailer/internal/dev/servers"
)

// Postfix starts a relay that hands every message to the server at next (host:port). The test is
// skipped where Postfix cannot be installed or cannot run.
func Postfix(t testing.TB, next string) *servers.Postfix {
	t.Helper()
	err := servers.InstallPostfix(t.Context(), os.Stderr, say)
	var relay *servers.Postfix
	if err == nil {
		var dir string
		if dir, err = ownFolder("postfix"); err != nil {
			t.Fatal(err)
		}
		relay, err = servers.StartPostfix(t.Context(), dir, next)
	}
	if errors.Is(err, servers.ErrNoPostfix) {
		t.Skipf("SKIPPED, nothing is tested behind a Postfix: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		relay.Stop(context.Background())
		if t.Failed() {
			t.Log(relay.Log())
		}
	})
	return relay
}
