package docs_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var typescript = flag.Bool("typescript", false, "run the TypeScript example: it installs packages from the network")

func TestTheTypeScriptExampleSendsAMailing(t *testing.T) {
	t.Parallel()
	if !*typescript {
		t.Skip("make ts-test runs it: it installs packages of npm")
	}
	s := newSandbox(t)
	dir := s.mkdir("typescript")
	for _, name := range []string{"package.json", "package-lock.json", "tsconfig.json", "start.ts"} {
		text, err := os.ReadFile(filepath.Join(root, "examples", "typescript", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.setup("list", "subscribers")
	s.must("cd typescript; npm ci --no-audit --no-fund --prefer-offline; npm run build")
	out, code := s.shell("cd typescript; node start.js letter-2026")
	if code != 0 || !strings.HasSuffix(out, "completed: 2 of 2 sent, 0 bounced\n") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	out, code = s.shell("cd typescript; node start.js letter-2026")
	if code != 1 || !strings.Contains(out, "was started before") {
		t.Errorf("started twice: exit code %d:\n%s", code, out)
	}
	s.must("starter list delete subscribers --yes")
	out, code = s.shell("cd typescript; node start.js letter-2027")
	if code != 1 || !strings.Contains(out, "nothing was sent\nlist: ") {
		t.Errorf("without the list: exit code %d:\n%s", code, out)
	}
}

func TestTheGoExamplesSayWhatTheySent(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.setup("list", "subscribers")
	for _, step := range []struct{ command, want string }{
		{"go run ./examples/start letter-2026", "completed: 2 of 2 sent, 0 bounced\n"},
		{"go run ./examples/start letter-2026 && exit 9 || true",
			"mailing letter-2026 was started before: nothing is sent again\n"},
		{"CAMPAIGN_PAUSE=10ms go run ./examples/compose harvest-2026",
			"harvest-2026-announcement completed: 2 of 2 sent\nharvest-2026-reminder completed: 2 of 2 sent\n"},
	} {
		if out, code := s.shell(step.command); code != 0 || !strings.Contains(out, step.want) {
			t.Errorf("%s: exit code %d:\n%s", step.command, code, out)
		}
	}
}
