package servers

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// endWithUs makes the kernel send the child SIGQUIT when this program ends, also when it is killed.
// SIGQUIT ends PostgreSQL and Temporal at once.
func endWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }

// stat returns the state and the parent of a process. See proc(5): the name, in parentheses, may
// have any character.
func stat(pid int) (state byte, parent int, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, err == nil
}

// alive reports whether a process runs. A zombie does not run.
func alive(pid int) bool {
	state, _, ok := stat(pid)
	return ok && state != 'Z' && state != 'X'
}

// children returns the child processes of a process.
func children(of int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := stat(pid); ok && parent == of {
			found = append(found, pid)
		}
	}
	return found
}

func hasArgument(pid int, argument string) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(append([]byte{0}, data...), []byte("\x00"+argument+"\x00"))
}
