//go:build unix

package dev

import (
	"io"
	"os"
	"path/filepath"
	"syscall"

	"directmailer/starter/internal/exit"
)

// lockFolder keeps two processes from running servers on the same data, until the lock is closed.
func lockFolder(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fileError(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, exit.Usagef(
			"%s is in use by another `starter dev` or `starter demo`: choose another folder with --data",
			dir,
		)
	}
	return f, nil
}
