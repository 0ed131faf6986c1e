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
	f.oneClick(f.token("spring", 2))
	f.oneClick(f.token("autumn", 1))
	f.oneClick("nonsense")
	var written, counted string
	err := f.pool.QueryRow(t.Context(), `
		SELECT (SELECT string_agg(concat_ws(' ', m.id, e.recipient, e.class, e.origin), ', ' ORDER BY m.id, e.recipient)
				FROM events e JOIN mailings m ON m.key = e.mailing),
			(SELECT string_agg(m.id || ' ' || c.unsubscribe, ', ' ORDER BY m.id)
				FROM event_counts c JOIN mailings m ON m.key = c.mailing)`).Scan(&written, &counted)
	if err != nil || counted != "autumn 1, spring 2" ||
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
