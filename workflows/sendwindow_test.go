package workflows

import (
	"fmt"
	"testing"
	"time"
)

func TestTheWindowFollowsTheNumberOfWorkers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for workers, want := range map[int]int{1: 6, 2: 10, 8: 34, 200: maxWindow} {
		w := SendWindow{Size: firstWindow}
		for i := range 1000 {
			w.answered(SentBatch{Closed: true, Worker: fmt.Sprint("w", i%workers)}, 1, now)
		}
		if w.Size != want {
			t.Errorf("%d workers: %d batches in flight, want %d", workers, w.Size, want)
		}
	}
}

// The first answers come from a few of the workers. The other workers must have batches meanwhile.
func TestTheWindowDoesNotCollapseBeforeEveryWorkerHasAnswered(t *testing.T) {
	t.Parallel()
	w := SendWindow{Size: firstWindow}
	for i := range 8 {
		w.answered(SentBatch{Worker: fmt.Sprint("w", i)}, 1, time.Now())
		if w.Size < 8 {
			t.Fatalf("after the answer of %d of 8 workers there is room for %d batches", i+1, w.Size)
		}
	}
}

func TestTheWindowShrinksWhereMoreBatchesDoNotHelp(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for what, c := range map[string]struct {
		answer SentBatch
		want   int
	}{
		"workers are busy":            {SentBatch{HandedOver: 1}, 9},
		"the rate limit is reached":   {SentBatch{Limited: true}, 2},
		"a low rate limit is reached": {SentBatch{NotBefore: now.Add(time.Second)}, 1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := SendWindow{Size: 20}
			for i := range 100 {
				answer := c.answer
				answer.Worker = fmt.Sprint("w", i%4)
				w.answered(answer, 1, now)
			}
			if w.Size != c.want {
				t.Errorf("the window is %d, want %d", w.Size, c.want)
			}
			for range 100 { // and grows again
				w.answered(SentBatch{Closed: true, Worker: "w0"}, 1, now)
			}
			if w.Size != 18 {
				t.Errorf("afterwards the window is %d, want 18", w.Size)
			}
		})
	}
}

// Batches may wait for answers that take minutes. Other batches go on meanwhile.
func TestTheWindowGrowsWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := SendWindow{Size: 2, Answered: now}
	for range 600 {
		now = now.Add(time.Second)
		if next := w.quiet(now); !next.After(now) {
			t.Fatal("nothing wakes the workflow")
		}
	}
	if w.Size != 42 {
		t.Errorf("after ten minutes of silence %d batches may be in flight, want 42", w.Size)
	}
	for i := range 600 { // a turn's answer now and then is no silence
		now = now.Add(time.Second)
		if i%10 == 0 {
			w.answered(SentBatch{Worker: "w", HandedOver: 1}, 1, now)
		}
		w.quiet(now)
	}
	if w.Size != 3 {
		t.Errorf("afterwards %d batches may be in flight, want 3", w.Size)
	}
}

// If a mailing has a slow drop point and a fast one, some batches of each worker wait for the slow
// one.
func TestTheWindowHasRoomBesidesBatchesThatWaitForASlowDropPoint(t *testing.T) {
	t.Parallel()
	w := SendWindow{Size: 20}
	for range 100 {
		w.answered(SentBatch{Worker: "w", HandedOver: 1}, 2, time.Now())
	}
	if w.Size != 5 {
		t.Errorf(
			"%d batches may be in flight, want 5: two wait, one is sent, one takes over, and one is on its way",
			w.Size,
		)
	}
}

func TestAWorkerThatAnswersNoMoreIsNotCounted(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := SendWindow{Size: firstWindow}
	for i := range 100 {
		w.answered(SentBatch{Worker: fmt.Sprint("w", i%8)}, 1, now)
	}
	for range 100 {
		w.answered(SentBatch{Worker: "w0"}, 1, now.Add(workerGone+time.Second))
	}
	if len(w.Workers) != 1 || w.Size != 6 {
		t.Errorf("%d workers, %d batches in flight", len(w.Workers), w.Size)
	}
}

func TestTheSpeedIsThatOfTheLastMinute(t *testing.T) {
	t.Parallel()
	var s speed
	began := time.Unix(1_000_000, 0)
	if s.perSecond() != 0 || !s.end(10).IsZero() {
		t.Error("a speed before anything was sent")
	}
	answered := int64(0)
	for second := range 300 {
		s.note(began.Add(time.Duration(second)*time.Second), answered)
		if second < 200 {
			answered += 10
		} else {
			answered += 100
		}
	}
	last := began.Add(299 * time.Second)
	if got := s.perSecond(); got < 99 || got > 101 {
		t.Errorf("%.1f messages a second, want 100", got)
	}
	if got := s.end(500).Sub(last); got < 4900*time.Millisecond || got > 5100*time.Millisecond {
		t.Errorf("500 messages take %s, want 5 s", got)
	}
	if len(s.samples) > 40 {
		t.Errorf("%d samples are kept", len(s.samples))
	}
	if !s.end(0).IsZero() {
		t.Error("an end although nothing is left")
	}
}
