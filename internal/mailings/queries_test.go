package mailings_test

import (
	"errors"
	"testing"

	"directmailer/internal/mailings"
)

func TestTheTextOfAQueryIsStoredOnceAndReadByItsReference(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	references := map[string]string{} // by text
	for _, sql := range []string{"SELECT 1", "SELECT 2", "SELECT 1"} {
		reference, err := f.store.StoreQuery(t.Context(), sql)
		if err != nil || references[sql] != "" && references[sql] != reference {
			t.Fatalf("got %q after %q, %v", reference, references[sql], err)
		}
		references[sql] = reference
	}
	for want, reference := range references {
		if sql, err := f.store.StoredQuery(t.Context(), reference); err != nil || sql != want {
			t.Errorf("got %q, %v, want %q", sql, err, want)
		}
	}
	if n := f.strings(`SELECT count(*)::text FROM queries`); n[0] != "2" {
		t.Errorf("%s texts are stored", n)
	}
	for _, reference := range []string{"", "00ff", "SELECT 1", references["SELECT 1"] + "00", "\x00"} {
		if sql, err := f.store.StoredQuery(t.Context(), reference); !errors.Is(err, mailings.ErrNotFound) {
			t.Errorf("%q: got %q, %v", reference, sql, err)
		}
	}
}
