package devstack

import "syscall"

// endWithUs has the kernel stop the child when we are gone, even if nobody could stop it: SIGQUIT ends PostgreSQL at once, and Temporal.
func endWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
