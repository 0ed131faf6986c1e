package activities

import (
	"testing"
	"testing/synctest"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
)

// quick is a drop point that answers.
var quick = routeTo("quick", droppoint.Quick)

func routeTo(name string, speed droppoint.Speed) route {
	return route{names: []string{name}, speed: func() droppoint.Speed { return speed }}
}

// batch is a batch of a test, whose load the test sets.
type batch struct{ load sender.Load }

func (b *batch) Load() sender.Load { return b.load }

// send gives a batch that has a slot its messages.
func send(c *slot, messages int) *batch {
	b := &batch{sender.Load{Left: messages}}
	c.sends(b.Load, turn)
	return b
}

// pass lets seconds go by in which the batch gets so many answers a second.
func (b *batch) pass(d time.Duration, rate int) {
	for range d / (100 * time.Millisecond) {
		time.Sleep(100 * time.Millisecond)
		n := min(rate/10, b.load.Left)
		b.load.Answered += n
		b.load.Left -= n
	}
}

func TestAWorkerTakesAnotherBatchOnlyWhenItsConnectionsWouldSoonBeIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(8)
		first := a.acquire(1, quick)
		if first == nil {
			t.Fatal("a worker without anything to do does not take a batch")
		}
		if a.acquire(1, quick) != nil {
			t.Error("a second batch is taken while the first is claimed")
		}
		b := send(first, 5000)
		if a.acquire(1, quick) != nil {
			t.Error("a second batch is taken before the first answer")
		}
		b.pass(time.Second, 100)
		if a.acquire(1, quick) != nil {
			t.Error("a second batch is taken although there is work for 49 seconds")
		}
		b.pass(7500*time.Millisecond, 100)
		second := a.acquire(1, quick)
		if second == nil {
			t.Fatal("no second batch is taken although the turn of the first ends in 1.5 seconds")
		}
		first.release()
		if a.acquire(1, quick) != nil {
			t.Error("a third batch is taken while the second is claimed, which may be as large as the first")
		}
		second.release()
	})
}

// Small batches and quick servers: a batch is gone before the next could come, unless there are
// several.
func TestAWorkerTakesManyBatchesThatAreSoonDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(8)
		c := a.acquire(1, quick)
		b := send(c, 100)
		b.pass(100*time.Millisecond, 1000)
		c.release()
		taken := 0
		for range 50 {
			if c := a.acquire(1, quick); c != nil {
				taken++
				send(c, 100)
			}
		}
		if taken < 5 || taken > 40 {
			t.Errorf("%d batches of 100 at 1,000 messages per second, want about 20: two seconds of work", taken)
		}
	})
}

// A server that answers nothing: more batches would wait as well. Connections that nobody uses are
// another matter.
func TestAServerThatDoesNotAnswerGetsOneBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(8)
		b := send(a.acquire(1, quick), 1000)
		for range 600 {
			time.Sleep(time.Second)
			if a.acquire(1, quick) != nil {
				t.Fatal("a second batch is taken")
			}
		}
		b.load.Idle = true
		if a.acquire(1, quick) == nil {
			t.Error("no second batch is taken although connections are idle")
		}
	})
}

func TestABatchThatWaitsForARateLimitIsEnough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(8)
		b := send(a.acquire(1, quick), 1000)
		b.pass(3*time.Second, 10)
		b.load.Idle, b.load.Limited = true, true
		if a.acquire(1, quick) != nil {
			t.Error("a second batch would wait for the same limit")
		}
	})
}

func TestMailingsDoNotTakeEachOthersSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(8)
		send(a.acquire(1, quick), 1000)
		for mailing := range int64(5) {
			if a.acquire(mailing+2, quick) == nil {
				t.Errorf("mailing %d finds no room", mailing+2)
			}
		}
	})
}

// What is known of a mailing is forgotten when nothing of it has been here for a while.
func TestAWorkerForgetsMailingsThatHaveLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(8)
		for mailing := range int64(1000) {
			a.acquire(mailing, quick).release()
			time.Sleep(time.Second)
		}
		if n := len(a.mailings); n > 20 {
			t.Errorf("%d mailings are remembered", n)
		}
	})
}

// Eight mailings have only a server that does not answer. What the others see of it changes with
// time: nothing is known, then it is slow, then it answers.
func TestMailingsOfASlowDropPointLeaveHalfOfTheSlots(t *testing.T) {
	t.Parallel()
	a := newAdmission(8)
	speed := droppoint.Unknown
	late := route{names: []string{"late"}, speed: func() droppoint.Speed { return speed }}
	var held []*slot
	admit := func() int {
		for mailing := range int64(20) {
			if c := a.acquire(mailing, late); c != nil {
				send(c, 1000)
				held = append(held, c)
			}
		}
		return len(held)
	}
	if n := admit(); n != 2 {
		t.Errorf("%d batches wait for the first answer of a drop point, want a quarter of the slots", n)
	}
	speed = droppoint.Slow
	if n := admit(); n != 4 {
		t.Errorf("%d batches have only a slow drop point, want half of the slots", n)
	}
	if c := a.acquire(100, routeTo("other", droppoint.Slow)); c != nil {
		t.Error("another slow drop point has more than half of the slots")
	}
	for _, other := range []route{
		quick, routeTo("new", droppoint.Unknown), {names: []string{"late", "quick"}, speed: quick.speed},
	} {
		c := a.acquire(200, other)
		if c == nil {
			t.Fatalf("a batch to %v finds no room", other.names)
		}
		c.release()
	}
	speed = droppoint.Quick
	if n := admit(); n < 8 {
		t.Errorf("%d batches when it answers", n)
	}
	for _, c := range held {
		c.release()
	}
}

// Batches wait for a server that does not answer, and their turns are over. The other server was
// slow once. Nobody finds out that it is quick unless a batch has room.
func TestBatchesWhoseTurnIsOverLeaveRoomToFindOutWhetherAServerAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(8)
		speed := droppoint.Slow
		either := route{names: []string{"silent", "once slow"}, speed: func() droppoint.Speed { return speed }}
		for mailing := range int64(4) {
			send(a.acquire(mailing, either), 1000)
		}
		time.Sleep(turn + stallCheck)
		if a.acquire(5, either) != nil {
			t.Error("five batches have only slow drop points")
		}
		speed = droppoint.Unknown
		for mailing := range int64(2) {
			if c := a.acquire(10+mailing, either); c != nil {
				send(c, 1000)
			} else {
				t.Error("a batch finds no room")
			}
		}
		if a.acquire(20, either) != nil {
			t.Error("three batches try the drop point")
		}
	})
}
