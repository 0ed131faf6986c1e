package cli

import (
	"strings"
	"testing"
)

// The user of a shell makes a key, and is told before the start and after it whether messages are
// signed.
func TestWhetherMessagesAreSignedIsToldBeforeTheStartAndAfterIt(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	setting := func(domain string) string {
		var made struct {
			Setting string `json:"dm_dkim"`
		}
		s.run("dkim", "new", domain, "--algorithm", "ed25519", "--output", "json").want(t, 0).decode(t, &made)
		return made.Setting
	}
	right, wrong := setting("example.com"), setting("example.net")
	const warning = "warning: dkim-key-missing: header DKIM-Signature: is missing: DM_DKIM of this shell has no key"
	start := []string{"start", "-f", "letter.yaml", "--id", newID(t)}
	dry := append(start, "--dry-run")

	s.run(dry...).want(t, 3, "not known: DM_DKIM is not set in this shell")
	s.with("DM_DKIM", wrong).run(dry...).want(t, 3, "no: DM_DKIM has no key for example.com")
	s.with("DM_DKIM", wrong).run(dry...).wantError(t, 3, warning)
	signed := s.with("DM_DKIM", right).run(dry...)
	signed.want(t, 3, "._domainkey.example.com")
	if strings.Contains(signed.err, warning) {
		t.Errorf("warned of a key that is there: %s", signed.err)
	}

	s.env["DM_DKIM"] = wrong
	s.worker() // signs nothing
	s.run(append(start, "--watch")...).wantError(t, 3, warning)
	var shown struct {
		Signatures []string
		Unsigned   bool
	}
	id := start[len(start)-1]
	s.run("show", id, "--output", "json").want(t, 0).decode(t, &shown)
	if !shown.Unsigned || len(shown.Signatures) > 0 {
		t.Errorf("an unsigned mailing is shown as %+v", shown)
	}
	s.run("show", id).want(t, 0, "no: DM_DKIM of the workers has no key for the domain of from")
}
