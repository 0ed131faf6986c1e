package delivery

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// The drop directory is a disk of 512 KiB in the worker's own mount namespace, which an ordinary
// user may create. A file called ballast leaves room for some messages only.
func TestAFullDropDirectoryIsWaitedFor(t *testing.T) {
	t.Parallel()
	const recipients = 80 // a page of 4 KiB each
	dir := t.TempDir()
	const script = `mount --make-rprivate / && mount -t tmpfs -o size=512k none "$0" &&
		head -c 400k /dev/zero >"$0/ballast" && exec "$1"`
	disk := func(then string) *exec.Cmd {
		cmd := exec.Command("sh", "-ec", script, dir, then)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
		return cmd
	}
	if out, err := disk("true").CombinedOutput(); err != nil {
		t.Skipf("no disk can be mounted here: %v: %s", err, out)
	}
	r := rig.New(t, "drop=dir:"+dir)
	r.ImportList(recipients)
	w := r.Launch(disk(servertest.Build(t, "./worker")))
	there := fmt.Sprintf("/proc/%d/root%s", w.Cmd.Process.Pid, dir)
	in := rig.Mailing(20)
	in.Retry.DropPoint.Attempts = 2
	run := r.Start(in)
	r.AwaitStatus("it is suspended and says why", func(s workflows.Status) bool {
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "no space left")
	})
	if files := r.DroppedCopies(there); len(files) == 0 || len(files) >= recipients {
		t.Errorf("%d files were written", len(files))
	}
	if err := os.Remove(filepath.Join(there, "ballast")); err != nil {
		t.Fatal(err)
	}
	result := r.Result(run)
	if d := r.Judge(r.DroppedCopies(there), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result)
	}
}
