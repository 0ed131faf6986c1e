package unsubscribe

import (
	"context"
	"errors"
	"testing"

	"directmailer/internal/feedback/token"
)

// Each person who leaves is an event, once, and can leave again after an undo.
func TestARequestIsAnEventOnceAndIsNotLostAfterAnUndo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := f.token("spring", 1)
	page := f.post(in, "scope", "all")
	f.post(in, "scope", "all", "undo", proofIn(t, page.body))
	f.wantOptOuts()
	f.post(in, "scope", "all")
	f.wantOptOuts("spring-1@example.org all asked spring")
	undone := f.token("winter", 1)
	page = f.post(undone, "scope", "this")
	f.exec(`DELETE FROM events WHERE mailing = (SELECT key FROM mailings WHERE id = 'winter')`)
	f.exec(`UPDATE event_counts SET unsubscribe = 0 WHERE mailing = (SELECT key FROM mailings WHERE id = 'winter')`)
	f.post(undone, "scope", "this", "undo", proofIn(t, page.body)) // is no event
	f.oneClick(f.token("spring", 2))
	f.oneClick(f.token("autumn", 1))
	f.oneClick("nonsense")
	var written, counted string
	err := f.pool.QueryRow(t.Context(), `
		SELECT (SELECT string_agg(concat_ws(' ', m.id, e.recipient, e.class, e.origin), ', ' ORDER BY m.id, e.recipient)
				FROM events e JOIN mailings m ON m.key = e.mailing),
			(SELECT string_agg(m.id || ' ' || c.unsubscribe, ', ' ORDER BY m.id)
				FROM event_counts c JOIN mailings m ON m.key = c.mailing)`).Scan(&written, &counted)
	if err != nil || counted != "autumn 1, spring 2, winter 0" ||
		written != "autumn 1 unsubscribe web, spring 1 unsubscribe web, spring 2 unsubscribe web" {
		t.Errorf("the events are %s, the counts %s: %v", written, counted, err)
	}
}

func TestAGroupIsWrittenInTheOrderOfItsRequests(t *testing.T) {
	t.Parallel()
	who := token.Recipient{Mailing: 1, Number: 1}
	leave, undo := change{who: who}, change{who: who, undo: true}
	var jobs []job
	for _, c := range []change{leave, leave, undo, {}, {}, leave, undo, undo, leave} {
		jobs = append(jobs, job{change: c})
	}
	got := withoutRepeated(jobs)
	want := []change{leave, undo, {}, leave, undo, leave}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	f := newFixture(t)
	who, err := f.keys.FromURL(token.Unsubscribe, f.token("spring", 1))
	if err != nil {
		t.Fatal(err)
	}
	other := token.Recipient{Mailing: who.Mailing, Number: 2}
	leave, undo = change{who: who}, change{who: who, undo: true}
	for _, c := range [][]change{{leave, undo, {who: other}, {who: other, undo: true}}, {undo, leave}} {
		jobs = nil
		for _, each := range c {
			jobs = append(jobs, job{change: each})
		}
		if err := f.server.group.commit(jobs); err != nil {
			t.Fatal(err)
		}
		if c[0] == leave {
			f.wantOptOuts()
		}
	}
	f.wantOptOuts("spring-1@example.org topic:offers asked spring")
}

// A worker that stops must not tell people that they have left.
func TestARequestThatWaitsWhenTheListenerClosesIsRefused(t *testing.T) {
	t.Parallel()
	g := &group{waiting: make(chan job, 2), stop: func() {}, ended: make(chan struct{})}
	close(g.ended)
	done := make(chan error, 1)
	if err := g.enter(job{done: done}); err != nil {
		t.Fatal(err)
	}
	g.close()
	if err := <-done; !errors.Is(err, errClosed) {
		t.Errorf("a request that waited: %v", err)
	}
	if err := g.enter(job{}); !errors.Is(err, errClosed) {
		t.Errorf("a request that came later: %v", err)
	}
}

func TestMoreRequestsThanTheDatabaseTakesAreRefused(t *testing.T) {
	t.Parallel()
	g := &group{waiting: make(chan job, 1)}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := g.add(ended, change{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	if err := g.add(t.Context(), change{}); !errors.Is(err, errBusy) {
		t.Errorf("the second: %v", err)
	}
}
