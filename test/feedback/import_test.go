package feedback

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

// An import is killed right before its second commit, and run again.
func TestAnImportWritesWhatEachMessageSaysOnce(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(4)
	r.StartWorker("DM_TOKEN_KEYS="+secret, "DM_BOUNCE_DOMAIN="+domain)
	r.Result(r.Start(rig.Mailing(4)))
	dir := t.TempDir()
	for i, m := range s.Received()[:2] {
		text := []byte([]string{dsn(m, "5.1.1"), arf(m)}[i])
		if err := os.WriteFile(filepath.Join(dir, []string{"bounce.eml", "complaint.eml"}[i]), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const written = `SELECT class || ' ' || origin FROM events`
	starter(r, "bounces", "import", "--dry-run", dir)
	if got := texts(r, written); len(got) > 0 {
		t.Errorf("a dry run has written %v", got)
	}
	killBeforeComplaint(r, starterCommand(r, "bounces", "import", dir))
	if got := texts(r, written); !slices.Equal(got, []string{"hard import"}) {
		t.Errorf("written before the kill: %v", got)
	}
	for range 2 {
		out := starter(r, "bounces", "import", dir)
		if !strings.Contains(out, "hard") || !strings.Contains(out, "complaint") {
			t.Errorf("the import says:\n%s", out)
		}
	}
	if got := texts(r, written); !slices.Equal(got, []string{"complaint import", "hard import"}) {
		t.Errorf("written: %v", got)
	}
	if got := texts(r, `SELECT reason FROM opt_outs`); !slices.Equal(got, []string{"complaint"}) {
		t.Errorf("opt-outs: %v", got)
	}
	if got := texts(r, `SELECT class || ' ' || count FROM suppressions`); !slices.Equal(got, []string{"hard 1"}) {
		t.Errorf("suppressions: %v", got)
	}
}

// killBeforeComplaint runs the command until it waits with a complaint, and kills it.
func killBeforeComplaint(r *rig.Rig, cmd *exec.Cmd) {
	r.Helper()
	tx, err := r.Pool.Begin(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	// Otherwise the pool never closes after a failure.
	r.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(r.Context(), `LOCK TABLE opt_outs IN SHARE MODE`); err != nil {
		r.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.Eventually("the import waits", func() bool { return len(texts(r, locksOn("opt_outs")+` AND NOT granted`)) > 0 })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := tx.Rollback(r.Context()); err != nil {
		r.Fatal(err)
	}
}
