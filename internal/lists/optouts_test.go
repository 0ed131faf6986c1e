package lists_test

import (
	"testing"

	"directmailer/internal/lists"
)

func (f *fixture) optOuts() (all []string) {
	f.Helper()
	err := f.store.OptOuts(f.Context(), func(o lists.OptOut) error {
		all = append(all, o.Address+" "+o.Reason+" "+o.Mailing)
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

func (f *fixture) bounced(mailing string, keys ...string) {
	f.Helper()
	_, err := f.pool.Exec(f.Context(), `INSERT INTO opt_outs (address_key, reason, mailing) SELECT k, '5.1.1', $2 FROM unnest($1::text[]) k ON CONFLICT DO NOTHING`, keys, mailing)
	if err != nil {
		f.Fatal(err)
	}
}

func TestAPersonsRequestReplacesABounceAndIsNeverReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	add := func(reason string, want int64, keys ...string) {
		t.Helper()
		n, err := f.store.AddOptOuts(t.Context(), keys, reason)
		if err != nil {
			t.Fatal(err)
		}
		f.want(n, want)
	}
	f.bounced("m", "a@example.com", "b@example.com")
	add(lists.Asked, 2, "a@example.com", "c@example.com")
	add(lists.Asked, 0, "a@example.com", "c@example.com")
	add("5.1.1", 1, "a@example.com", "b@example.com", "c@example.com", "d@example.com")
	f.want(f.optOuts(), []string{"a@example.com asked ", "b@example.com 5.1.1 m", "c@example.com asked ", "d@example.com 5.1.1 "})
}

func TestTheBouncesOfOneMailingAreRemovedAndRequestsStay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.bounced("m", "a@example.com", "b@example.com", "c@example.com")
	f.bounced("n", "d@example.com")
	if _, err := f.store.AddOptOuts(t.Context(), []string{"b@example.com"}, lists.Asked); err != nil {
		t.Fatal(err)
	}
	if _, err := f.pool.Exec(t.Context(), `INSERT INTO opt_outs VALUES ('e@example.com', 'asked', 'm')`); err != nil { // by a link in the mailing
		t.Fatal(err)
	}
	n, err := f.store.RemoveBounced(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	f.want(n, int64(2))
	f.want(f.optOuts(), []string{"b@example.com asked ", "d@example.com 5.1.1 n", "e@example.com asked m"})
}
