package feedback

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

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
	starter := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), servertest.Build(t, "./starter"), args...)
		cmd.Env = append(os.Environ(), "DATABASE_URL="+r.DatabaseURL, "DM_TOKEN_KEYS="+secret)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("starter %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	const written = `SELECT class || ' ' || origin FROM events`
	starter("bounces", "import", "--dry-run", dir)
	if got := texts(r, written); len(got) > 0 {
		t.Errorf("a dry run has written %v", got)
	}
	for range 2 {
		if out := starter("bounces", "import", dir); !strings.Contains(out, "hard") || !strings.Contains(out, "complaint") {
			t.Errorf("the import says:\n%s", out)
		}
	}
	if got := texts(r, written); !slices.Equal(got, []string{"complaint import", "hard import"}) {
		t.Errorf("written: %v", got)
	}
	if got := texts(r, `SELECT reason FROM opt_outs`); !slices.Equal(got, []string{"complaint"}) {
		t.Errorf("opt-outs: %v", got)
	}
}
