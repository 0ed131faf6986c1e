package tokenkey

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/token/tokentest"
	"directmailer/internal/mailings"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// open opens a mailing whose tokens the named key signs, and returns its key.
func open(t *testing.T, pool *pgxpool.Pool, id string, keys token.Keys) int64 {
	t.Helper()
	marks := feedback.Settings{Keys: keys}.Marks()
	store := mailings.New(pool)
	input := json.RawMessage(`{"list": "people"}`)
	if err := store.Reserve(t.Context(), id, "run", "people", input, marks, "default"); err != nil {
		t.Fatal(err)
	}
	m, err := store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return m.Key
}

func TestAMissingKeyIsNoticedUntilNoMailingNeedsIt(t *testing.T) {
	t.Parallel()
	pool := servertest.Pool(t, servertest.Database(t), 2)
	a, b := tokentest.Keys(t, "a"), tokentest.Keys(t, "b")
	var text bytes.Buffer
	w := NewWatch(pool, a, slog.New(slog.NewTextHandler(&text, nil)))
	now := time.Unix(1_000_000, 0)
	w.now = func() time.Time { return now }
	look := func(how func(*Watch) error) {
		t.Helper()
		if err := how(w); err != nil {
			t.Fatal(err)
		}
	}
	all := func(w *Watch) error { return w.Look(t.Context()) }
	latest := func(w *Watch) error { return w.LookAtLatest(t.Context()) }
	claim := func(mailing int64) token.Recipient { return token.Recipient{Mailing: mailing, Number: 1} }

	first := open(t, pool, "first", a)
	if w.Lacks() || !w.MayBeGenuine(claim(first)) {
		t.Error("before the first look, nothing is known")
	}
	look(all)
	if !w.MayBeGenuine(claim(first)) {
		t.Error("a mailing that the first look has found may be one of several that were being opened")
	}
	now = now.Add(lookEvery - 1)
	look(all)
	if !w.MayBeGenuine(claim(first)) {
		t.Error("a look that comes too early settles nothing")
	}
	now = now.Add(1)
	look(all)
	if w.Lacks() || w.MayBeGenuine(claim(first)) || !w.MayBeGenuine(claim(first+1)) {
		t.Errorf("after the second look: %t, %t", w.Lacks(), w.MayBeGenuine(claim(first)))
	}
	second := open(t, pool, "second", b) // by another worker
	if w.Lacks() || w.MayBeGenuine(claim(first)) || !w.MayBeGenuine(claim(second)) {
		t.Error("a new mailing may have a missing key")
	}
	look(latest)
	if !w.Lacks() || !w.MayBeGenuine(claim(first)) {
		t.Error("the key of the new mailing is missing")
	}
	open(t, pool, "third", a)
	look(latest)
	look(all)
	if !w.Lacks() {
		t.Error("the key is missing still")
	}
	if _, err := pool.Exec(t.Context(), `DELETE FROM mailings WHERE id = 'second'`); err != nil {
		t.Fatal(err)
	}
	look(all)
	if w.Lacks() || w.MayBeGenuine(claim(first)) {
		t.Error("nobody needs the key any more")
	}
	if got := strings.Count(text.String(), "lacks a token key"); got != 1 {
		t.Errorf("the log says so %d times", got)
	}
}
