package droppoint

import (
	"errors"
	"testing"
	"time"
)

var errTooMany = errors.New("too many")

func TestTheAllowanceIsWhatTheServerGivesAndOneMoreIsTriedNowAndThen(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	a := newAllowance(8)
	for open := 7; open >= 3; open-- { // five of eight are refused
		a.refused(open, errTooMany, now)
	}
	want := func(at time.Duration, limit int) {
		t.Helper()
		if got := a.limit(now.Add(at)); got != limit {
			t.Errorf("after %v: %d connections, want %d", at, got, limit)
		}
	}
	a.refused(7, errTooMany, now) // more are open than the server gives: it says nothing new
	want(0, 3)
	want(firstTry-1, 3)
	want(firstTry, 4)
	a.refused(3, errTooMany, now.Add(firstTry))
	want(3*firstTry-1, 3) // the pause has doubled
	want(3*firstTry, 4)
	a.opened(4, now.Add(3*firstTry))
	want(3*firstTry, 4)
	a.proven()
	a.opened(5, now.Add(5*firstTry))
	want(6*firstTry-1, 5)
	want(6*firstTry, 6)
	for n := range 50 {
		at := now.Add(time.Duration(n) * time.Hour)
		a.refused(3, errTooMany, at)
		if pause := a.tryAt.Sub(at); pause > lastTry {
			t.Fatalf("one more is tried after %v only", pause)
		}
	}
	for open := 4; open <= 8; open++ {
		a.opened(open, now)
	}
	if a.isReduced() || a.limit(now.Add(time.Hour)) != 8 {
		t.Errorf("%+v: all are open", a)
	}
}

func TestOneConnectionIsAlwaysAllowed(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	a := newAllowance(8)
	a.refused(0, errTooMany, now)
	if a.limit(now) != 1 {
		t.Errorf("%d connections", a.limit(now))
	}
	a.reset()
	if a.isReduced() || a.limit(now) != 8 {
		t.Errorf("%+v after a new start", a)
	}
}

// Two workers share a server with three connections, and one of them has all three.
func TestAWorkerThatHasSeveralConnectionsOfFewLendsOneNowAndThen(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	a := newAllowance(8)
	if a.lends(8, now.Add(time.Hour)) {
		t.Error("a worker that may open all gives one away")
	}
	a.refused(3, errTooMany, now)
	for after, want := range map[time.Duration]bool{lendAfter - 1: false, lendAfter: true} {
		b := a
		if got := b.lends(3, now.Add(after)); got != want {
			t.Errorf("after %v: %v", after, got)
		}
	}
	at := now.Add(lendAfter)
	if !a.lends(3, at) || a.limit(at) != 2 || a.limit(at.Add(firstTry)) != 3 || a.lends(2, at.Add(time.Second)) {
		t.Errorf("%+v", a)
	}
	if one := a; one.lends(1, now.Add(time.Hour)) {
		t.Error("the last connection is given away")
	}
}
