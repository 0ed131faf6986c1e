package droppoint

import (
	"testing"
	"testing/synctest"
	"time"
)

// If a drop point counted as slow until it answers again, batches that may not use a slow one would
// never use it.
func TestADropPointWithoutMessagesIsNotSlowForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &DropPoint{}
		answer := func(took time.Duration) {
			done := d.waiting()
			time.Sleep(took)
			d.lastAnswer.Store(time.Now().UnixNano())
			d.recordAnswer(took)
			done()
		}
		answer(5 * time.Second)
		time.Sleep(slowMemory - time.Nanosecond)
		if d.Speed() != Slow {
			t.Error("it is not slow after a slow answer")
		}
		time.Sleep(time.Nanosecond)
		if d.Speed() != Unknown {
			t.Error("it is known to be slow after a pause")
		}
		if answer(time.Millisecond); d.Speed() != Quick {
			t.Error("it is not quick after a quick answer")
		}
		answer(5 * time.Second)
		if answer(time.Millisecond); d.Speed() != Slow {
			t.Error("one quick answer after a slow one makes it quick")
		}
		for range 20 {
			answer(time.Millisecond)
		}
		time.Sleep(slowMemory)
		if d.Speed() != Quick {
			t.Error("it is not quick after a pause")
		}
		waits := d.waiting()
		if d.Speed() != Quick {
			t.Error("it is not quick while it has a message again")
		}
		time.Sleep(slowAnswer)
		if d.Speed() != Slow {
			t.Error("it is not slow while it does not answer")
		}
		waits()
	})
}
