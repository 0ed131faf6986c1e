package activities

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"directmailer/internal/delivery/droppoint"
)

// reserved takes all slots that there are now and returns how many.
func reserved(s *SendSlots) (n int) {
	for s.TryReserveSlot(nil) != nil {
		n++
	}
	return n
}

func TestABatchWhoseDropPointStopsAnsweringLendsASlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSendSlots(4)
		if n := reserved(s); n != 4 {
			t.Fatalf("%d slots", n)
		}
		var speed atomic.Int64
		speed.Store(int64(droppoint.Quick))
		a, to := newAdmission(4), route{speed: func() droppoint.Speed { return droppoint.Speed(speed.Load()) }}
		var ends []func()
		for mailing := range int64(4) {
			ends = append(ends, s.lendWhen(a.acquire(mailing, to).heldUp))
		}
		time.Sleep(time.Minute)
		if n := reserved(s); n != 0 {
			t.Errorf("%d slots are lent while the drop point answers", n)
		}
		limited, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := make(chan error, 1)
		go func() {
			_, err := s.ReserveSlot(limited, nil)
			got <- err
		}()
		speed.Store(int64(droppoint.Slow))
		if err := <-got; err != nil {
			t.Error(err)
		}
		time.Sleep(2 * stallCheck)
		if n := reserved(s); n != 1 || s.MaxSlots() != 6 {
			t.Errorf("%d more slots are lent, want half as many as there are, with the one before", n)
		}
		for _, end := range ends {
			end()
		}
		for range s.issued - 4 {
			if reserved(s) > 0 {
				t.Error("there are more slots than before")
			}
			s.ReleaseSlot(nil)
		}
		s.ReleaseSlot(nil)
		if n := reserved(s); n != 1 {
			t.Errorf("%d slots are free after one was given back", n)
		}
		cancel()
		if _, err := s.ReserveSlot(limited, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// One of its drop points answers: the batch is sent through that one. Then it waits for the other.
func TestABatchThatWaitsForAnAnswerAfterItsTurnLendsASlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := newSendSlots(1), newAdmission(1).acquire(1, quick)
		end := s.lendWhen(c.heldUp)
		time.Sleep(time.Minute) // the claim may wait for the database
		send(c, 1000)
		time.Sleep(turn)
		if n := reserved(s); n != 1 {
			t.Errorf("%d slots during the turn, want one", n)
		}
		time.Sleep(3 * stallCheck)
		if n := reserved(s); n != 1 {
			t.Errorf("%d slots are lent after the turn, want one", n)
		}
		end()
		if s.ReleaseSlot(nil); s.TryReserveSlot(nil) != nil {
			t.Error("there are more slots than before")
		}
	})
}
