package servertest

import (
	"os"
	"path/filepath"
	"syscall"
)

const (
	memory = "/dev/shm"
	// memoryFree is how much a server with throwaway data needs at most, with a wide margin: several
	// test binaries run at a time.
	memoryFree = 4 << 30
	tmpfs      = 0x01021994 // its number in statfs(2)
)

// memoryFolder makes a folder in memory, or returns an empty path if there is too little of it. A
// database is copied there in a fraction of the time, and tests copy hundreds. First it removes the
// folders of test binaries that were killed.
func memoryFolder() string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); err != nil || fs.Type != tmpfs ||
		fs.Bavail*uint64(fs.Bsize) < memoryFree {
		return ""
	}
	left, _ := filepath.Glob(filepath.Join(memory, "dm-test-*"))
	for _, dir := range left {
		if lock := lockFolder(dir); lock != nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
	dir, err := os.MkdirTemp(memory, "dm-test-")
	if err != nil {
		return ""
	}
	lock := lockFolder(dir)
	if lock == nil { // another test binary takes it for a folder that was left
		return ""
	}
	atEnd(func() {
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	})
	if err := os.Chmod(dir, 0o755); err != nil { // see folder
		return ""
	}
	return dir
}

// lockFolder locks a folder until the file is closed, at the latest with the process. It returns
// nil if another process has locked or removed the folder, or this user may not lock it.
func lockFolder(dir string) *os.File {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		_ = f.Close()
		return nil
	}
	return f
}
