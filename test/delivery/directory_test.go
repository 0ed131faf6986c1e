package delivery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/test/rig"
	"directmailer/workflows"
)

func TestADropDirectoryThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	const recipients = 200
	dir := filepath.Join(t.TempDir(), "drop")
	r := rig.New(t, "drop=dir:"+dir)
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(50)
	in.Retry.DropPoint.Attempts = 2
	run := r.Start(in)
	r.AwaitStatus("it is suspended", func(s workflows.Status) bool {
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "drop")
	})
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	result := r.Result(run)
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil || len(files) != recipients || result.Counts.Sent != recipients {
		t.Errorf("%d files, %v; %+v", len(files), err, result)
	}
}

func TestNobodyIsLostWhenADropDirectoryVanishesForAWhile(t *testing.T) {
	t.Parallel()
	const recipients = 40
	dir := filepath.Join(t.TempDir(), "drop") // not there yet
	r := rig.New(t, "files=dir:"+dir)
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(10)
	in.Retry.DropPoint.Attempts = 1
	run := r.Start(in)
	r.Eventually("the mailing is suspended", func() bool {
		s, err := r.Status()
		return err == nil &&
			s.State == workflows.StateSuspended
	})
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if result := r.Result(run); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	r.Judge(r.DroppedCopies(dir), recipients)
}
