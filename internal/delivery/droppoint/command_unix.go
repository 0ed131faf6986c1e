//go:build unix

package droppoint

import (
	"os/exec"
	"syscall"
)

// killChildrenToo makes the end of the command's context kill the processes that the command has
// started, too.
func killChildrenToo(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
