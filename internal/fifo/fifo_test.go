package fifo

import (
	"sync"
	"testing"
)

func length(s string) int { return len(s) }

func TestTheOldestValuesMakeRoomForNewOnes(t *testing.T) {
	t.Parallel()
	c := New[int](10, length)
	c.Put(1, "aaaa")
	c.Put(2, "bbbb")
	c.Put(1, "cc") // replaces the first value, and is the newest now
	c.Put(3, "dddd")
	c.Put(4, "e") // no room: 2 is the oldest
	if _, ok := c.Take(2); ok || c.Len() != 3 {
		t.Errorf("the oldest value is still there, %d values", c.Len())
	}
	for key, want := range map[int]string{1: "cc", 3: "dddd", 4: "e"} {
		if got, ok := c.Take(key); got != want || !ok {
			t.Errorf("%d is %q, want %q", key, got, want)
		}
	}
	if c.Len() != 0 || c.size != 0 || len(c.order) != 0 {
		t.Errorf("%d values, size %d, %d keys", c.Len(), c.size, len(c.order))
	}
}

// It would drop everything else and still have no room.
func TestAValueLargerThanTheCacheIsNotAdded(t *testing.T) {
	t.Parallel()
	c := New[int](4, length)
	c.Put(1, "aaaa")
	c.Put(2, "bbbbb")
	if got := c.GetOrAdd(3, func() string { return "ccccc" }); got != "ccccc" {
		t.Errorf("the caller gets %q", got)
	}
	if _, ok := c.Take(1); !ok || c.Len() != 0 {
		t.Error("the first value is gone, or a larger one is there")
	}
	c.Put(1, "aaaa")
	c.Put(1, "bbbbb")
	if _, ok := c.Take(1); ok {
		t.Error("a value that was replaced is still there")
	}
}

func TestAValueIsCreatedOnceHoweverManyAskForIt(t *testing.T) {
	t.Parallel()
	c := New[int](100, One[*int])
	created := 0
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for key := range 10 {
				if v := c.GetOrAdd(key, func() *int { created++; n := key; return &n }); *v != key {
					t.Errorf("%d is %d", key, *v)
				}
			}
		})
	}
	all.Wait()
	if created != 10 || c.Len() != 10 {
		t.Errorf("%d were created, %d are there", created, c.Len())
	}
}

func TestOnlyAMatchingValueIsRemoved(t *testing.T) {
	t.Parallel()
	c := New[int](10, length)
	c.Put(1, "a")
	c.RemoveIf(1, func(v string) bool { return v == "b" })
	c.RemoveIf(2, func(string) bool { return true })
	if c.Len() != 1 {
		t.Error("another value is removed")
	}
	if c.RemoveIf(1, func(v string) bool { return v == "a" }); c.Len() != 0 || c.size != 0 {
		t.Error("the value is still there")
	}
}
