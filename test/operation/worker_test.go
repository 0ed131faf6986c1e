package operation

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
)

func TestHealthTellsWhetherAWorkerIsReady(t *testing.T) {
	t.Parallel()
	r := rig.New(t, "files=dir:"+t.TempDir())
	listener := rig.FreeAddress(t)
	w := r.StartWorker("DM_HEALTH_ADDRESS=" + listener)
	for _, path := range []string{"/healthz", "/readyz"} {
		r.Eventually(path+" answers 200", func() bool {
			r, err := http.Get("http://" + listener + path)
			if err != nil {
				return false
			}
			_ = r.Body.Close()
			return r.StatusCode == http.StatusOK
		})
	}
	w.Signal(syscall.SIGINT)
	r.AwaitExit(w)
	if code := w.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

func TestAWorkerSaysWhatIsWrongWithItsEnvironment(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(servertest.Build(t, "./worker"))
	cmd.Env = []string{"DM_DROP_POINTS=mx=smtp://user:s3cret@mx.example.com?tls=maybe", "DM_MAX_BATCHES=0",
		"DM_STOP_TIMEOUT=soon"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("got %v", err)
	}
	for _, part := range []string{"DATABASE_URL is not set", "drop point mx: tls", "DM_MAX_BATCHES",
		"DM_STOP_TIMEOUT"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("it does not say %q:\n%s", part, out)
		}
	}
	if strings.Contains(string(out), "s3cret") {
		t.Errorf("a password is shown:\n%s", out)
	}
}

func TestADatabaseThatIsNotMigratedStopsTheWorkerWithWordsThatHelp(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(servertest.Build(t, "./worker"))
	cmd.Env = append(os.Environ(), "DATABASE_URL="+servertest.EmptyDatabase(t), "DM_DROP_POINTS=files=dir:"+t.TempDir(),
		"TEMPORAL_ADDRESS="+servertest.Temporal(t))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "starter migrate") {
		t.Errorf("%v\n%s", err, out)
	}
}
