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
	for try := 1; lock == nil; try++ { // another package's test may remove the folder before it is locked
		if try > 100 {
			t.Fatal("no folder can be locked")
		}
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
