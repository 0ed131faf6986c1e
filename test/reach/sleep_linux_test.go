package reach

import (
	"syscall"
	"time"
)

// sleepUntil sleeps until t. It is some 60 µs late; the runtime's timers may be a millisecond late.
func sleepUntil(t time.Time) {
	if left := time.Until(t); left > 0 {
		rest := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&rest, nil)
	}
}
