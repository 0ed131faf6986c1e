package content

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func TestOneMailingIsCompiledWhileAnotherIsBeingCompiled(t *testing.T) {
	t.Parallel()
	c := NewCache[int]()
	begun, release := make(chan struct{}), make(chan struct{})
	var slow sync.WaitGroup
	slow.Go(func() {
		v, err := c.Get("slow", func() (int, error) {
			close(begun)
			<-release
			return 1, nil
		})
		if v != 1 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
	})
	<-begun
	// Under a lock that is held while a mailing is compiled, this waits for ever.
	if v, err := c.Get("quick", func() (int, error) { return 2, nil }); v != 2 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	close(release)
	slow.Wait()
}

func TestAMailingIsCompiledOnceHoweverManyAskForIt(t *testing.T) {
	t.Parallel()
	c := NewCache[int]()
	begun, release := make(chan struct{}), make(chan struct{})
	var times atomic.Int64
	compile := func() (int, error) {
		if times.Add(1) == 1 {
			close(begun)
		}
		<-release
		return 7, nil
	}
	var all sync.WaitGroup
	ask := func() {
		if v, err := c.Get("spring", compile); v != 7 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
	}
	all.Go(ask)
	<-begun
	for range 20 { // some while it is compiled, some after it
		all.Go(ask)
	}
	close(release)
	all.Wait()
	ask()
	if times.Load() != 1 {
		t.Errorf("compiled %d times", times.Load())
	}
}

func TestWhatCannotBeCompiledIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := NewCache[int]()
	failed := errors.New("no")
	if _, err := c.Get("spring", func() (int, error) { return 0, failed }); err != failed {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is swallowed")
			}
		}()
		_, _ = c.Get("spring", func() (int, error) { panic("no") })
	}()
	if v, err := c.Get("spring", func() (int, error) { return 3, nil }); v != 3 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if n := c.entries.Len(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// A failure that ends late must not remove what was compiled since.
func TestALateFailureLeavesWhatWasCompiledSince(t *testing.T) {
	t.Parallel()
	c := NewCache[int]()
	begun, release := make(chan struct{}), make(chan struct{})
	var late sync.WaitGroup
	late.Go(func() {
		_, _ = c.Get("spring", func() (int, error) { close(begun); <-release; return 0, errors.New("no") })
	})
	<-begun
	fill(t, c, maxContents) // drops the entry that fails
	if v, err := c.Get("spring", func() (int, error) { return 3, nil }); v != 3 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	close(release)
	late.Wait()
	if v, err := c.Get("spring", func() (int, error) { return 4, nil }); v != 3 || err != nil {
		t.Errorf("compiled again: %d, %v", v, err)
	}
}

func TestTheOldestContentIsForgottenWhenThereIsNoMoreRoom(t *testing.T) {
	t.Parallel()
	c := NewCache[int]()
	fill(t, c, maxContents)
	if v, _ := c.Get("mailing-0", func() (int, error) { return -1, nil }); v != 0 {
		t.Error("there was room")
	}
	fill(t, c, maxContents+1)
	if n := c.entries.Len(); n != maxContents {
		t.Errorf("%d entries, want %d", n, maxContents)
	}
	if v, _ := c.Get("mailing-0", func() (int, error) { return -1, nil }); v != -1 {
		t.Error("the oldest is still there")
	}
}

// fill compiles n mailings.
func fill(t *testing.T, c *Cache[int], n int) {
	t.Helper()
	for i := range n {
		if v, err := c.Get(fmt.Sprint("mailing-", i), func() (int, error) { return i, nil }); v != i || err != nil {
			t.Fatalf("got %d, %v", v, err)
		}
	}
}
