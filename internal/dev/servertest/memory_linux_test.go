package servertest

import (
	"os"
	"testing"
)

func TestAFolderInMemoryStaysWhileItsTestBinaryRuns(t *testing.T) {
	left, err := os.MkdirTemp(memory, "dm-test-")
	if err != nil {
		t.Skip(err)
	}
	var used string
	var lock *os.File
	for lock == nil { // the test binary of another package may remove the folder before it is locked
		if used, err = os.MkdirTemp(memory, "dm-test-"); err != nil {
			t.Fatal(err)
		}
		lock = lockFolder(used)
	}
	defer func() {
		_ = lock.Close()
		_ = os.RemoveAll(used)
	}()
	if memoryFolder() == "" {
		_ = os.RemoveAll(left)
		t.Skip("there is not enough memory")
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("the folder of a test binary that was killed: %v", err)
	}
	if _, err := os.Stat(used); err != nil {
		t.Error(err)
	}
}
