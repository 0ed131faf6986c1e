package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/workflows"
)

// A disk of 512 KiB in the worker's own mount namespace, which an ordinary user may have: a ballast leaves room for some messages only.
func TestAFullDropDirectoryIsWaitedFor(t *testing.T) {
	t.Parallel()
	const recipients = 80 // a page of 4 KiB each
	dir := t.TempDir()
	disk := func(then string) *exec.Cmd {
		cmd := exec.Command("sh", "-ec", `mount --make-rprivate / && mount -t tmpfs -o size=512k none "$0" && head -c 400k /dev/zero >"$0/ballast" && exec "$1"`, dir, then)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
		return cmd
	}
	if out, err := disk("true").CombinedOutput(); err != nil {
		t.Skipf("no disk can be mounted here: %v: %s", err, out)
	}
	p := newPlant(t, "drop=dir:"+dir)
	p.importList(recipients)
	w := p.launch(disk(servertest.Build(t, "./worker")))
	there := fmt.Sprintf("/proc/%d/root%s", w.cmd.Process.Pid, dir)
	in := mailing(20)
	in.Retry.DropPoint.Attempts = 2
	run := p.start(in)
	p.doing("it is suspended and says why", func(s workflows.Status) bool {
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "no space left")
	})
	if files := p.dropped(there); len(files) == 0 || len(files) >= recipients {
		t.Errorf("%d files were written", len(files))
	}
	if err := os.Remove(filepath.Join(there, "ballast")); err != nil {
		t.Fatal(err)
	}
	r := p.result(run)
	if d := p.judge(p.dropped(there), recipients); d > 0 || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r)
	}
}
