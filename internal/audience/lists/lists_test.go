package lists_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/field"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

var columns = []string{"row"}

type fixture struct {
	testing.TB
	pool  *pgxpool.Pool
	store *lists.Store
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 8)
	return &fixture{TB: t, pool: pool, store: lists.New(pool)}
}

// source hands out addresses, then the error or io.EOF.
type source struct {
	addresses []string
	next      int
	rejected  int64
	inactive  []int // the numbers of the rows that must not be mailed
	err       error
	spoilt    int           // the number of the row that the database refuses
	paused    chan struct{} // when set, the end waits until it is closed
	reached   chan struct{} // closed when the end is reached
}

func (s *source) Next() (member.Member, error) {
	if s.next == len(s.addresses) {
		if s.paused != nil {
			close(s.reached)
			<-s.paused
		}
		if s.err != nil {
			return member.Member{}, s.err
		}
		return member.Member{}, io.EOF
	}
	a := s.addresses[s.next]
	s.next++
	attributes := fmt.Appendf(nil, `{"row": "%d"}`, s.next)
	if s.spoilt == s.next {
		attributes = []byte(`{"row": "\u0000"}`) // jsonb cannot hold it
	}
	parsed, err := address.Parse(a)
	return member.Member{
		Position: int64(s.next + 1), Address: parsed, Attributes: attributes,
		Inactive: slices.Contains(s.inactive, s.next),
	}, err
}

func (s *source) Rejected() int64 { return s.rejected }

func of(addresses ...string) *source { return &source{addresses: addresses} }

func (f *fixture) imported(name string, s lists.Rows, replace bool) lists.List {
	f.Helper()
	l, err := f.store.Import(f.Context(), name, name+".csv", columns, s, replace)
	if err != nil {
		f.Fatal(err)
	}
	return l
}

// addresses are those of the list, in its order.
func (f *fixture) addresses(name string) []string {
	f.Helper()
	entries, err := f.store.First(f.Context(), name, "", 1000)
	if err != nil {
		f.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Address)
	}
	return out
}

// strays is the number of members that belong to no list.
func (f *fixture) strays() (n int) {
	f.Helper()
	err := f.pool.QueryRow(f.Context(),
		`SELECT count(*) FROM list_members WHERE list_id NOT IN (SELECT id FROM lists)`).Scan(&n)
	if err != nil {
		f.Fatal(err)
	}
	return n
}

func (f *fixture) want(got, want any) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAnImportCountsMembersDuplicatesAndRejectedRows(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := of("b@example.com", "A@example.com", "a@example.com", "B@example.com", "b@example.com", "c@example.com")
	s.rejected = 7
	l := f.imported("people", s, false)
	if l.CreatedAt.IsZero() {
		t.Error("the list has no time")
	}
	f.want(
		l,
		lists.List{
			Name:       "people",
			Source:     "people.csv",
			Members:    6,
			Duplicates: 3,
			Rejected:   7,
			Columns:    []string{"row"},
			CreatedAt:  l.CreatedAt,
		},
	)
	got, err := f.store.Get(t.Context(), "people")
	if err != nil {
		t.Fatal(err)
	}
	f.want(got, l)
	f.want(f.addresses("people"), s.addresses)
}

func TestAnImportThatFailsLeavesTheOldList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old := f.imported("people", of("a@example.com", "b@example.com"), false)
	broken := errors.New("line 3: a quote is not closed")
	for name, c := range map[string]struct {
		source  *source
		replace bool
		want    error
	}{
		"the source breaks off":       {&source{addresses: []string{"x@example.com"}, err: broken}, true, broken},
		"the source breaks at once":   {&source{err: broken}, true, broken},
		"the source is empty":         {of(), true, lists.ErrEmpty},
		"the list is there already":   {of("x@example.com"), false, lists.ErrExists},
		"there and the source breaks": {&source{err: broken}, false, lists.ErrExists},
	} {
		_, err := f.store.Import(t.Context(), "people", "new.csv", columns, c.source, c.replace)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "people") {
			t.Errorf("%s: got %v, want %v and the list's name", name, err, c.want)
		}
		got, err := f.store.Get(t.Context(), "people")
		if err != nil {
			t.Fatal(err)
		}
		f.want(got, old)
		f.want(f.addresses("people"), []string{"a@example.com", "b@example.com"})
	}
	f.want(f.strays(), 0)
}

func TestAFirstImportThatFailsLeavesNoList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, s := range []*source{of(), {addresses: []string{"x@example.com"}, err: errors.New("broken")}} {
		if _, err := f.store.Import(t.Context(), "people", "f", columns, s, false); !errors.Is(
			err,
			cmp.Or(s.err, lists.ErrEmpty),
		) {
			t.Errorf("got %v", err)
		}
		if _, err := f.store.Get(t.Context(), "people"); !errors.Is(err, lists.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	}
	f.want(f.strays(), 0)
}

func TestACancelledImportLeavesTheOldList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.imported("people", of("a@example.com"), false)
	ctx, cancel := context.WithCancel(t.Context())
	s := of("x@example.com", "y@example.com")
	s.paused, s.reached = make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() { _, err := f.store.Import(ctx, "people", "new.csv", columns, s, true); ended <- err }()
	<-s.reached
	cancel()
	close(s.paused)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f.want(f.addresses("people"), []string{"a@example.com"})
}

func TestAReplacedListHasTheNewMembersOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.imported("people", of("a@example.com", "b@example.com"), true) // there is none to be replaced
	f.imported("others", of("o@example.com"), false)
	l := f.imported("people", of("x@example.com"), true)
	f.want(l.Members, int64(1))
	f.want(f.addresses("people"), []string{"x@example.com"})
	f.want(f.addresses("others"), []string{"o@example.com"})
	f.want(f.strays(), 0)
}

// importBoth imports two lists of one name, of which the second begins while the first is under
// way.
func (f *fixture) importBoth(replace bool) (first, second error) {
	f.Helper()
	slow := of("slow1@example.com", "slow2@example.com")
	slow.paused, slow.reached = make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { _, first = f.store.Import(f.Context(), "people", "slow.csv", columns, slow, replace) })
	<-slow.reached
	group.Go(func() {
		_, second = f.store.Import(f.Context(), "people", "quick.csv", columns, of("quick@example.com"), replace)
	})
	for waiting := false; !waiting; {
		err := f.pool.QueryRow(f.Context(),
			`SELECT count(*) > 0 FROM pg_stat_activity WHERE `+servertest.WaitsForAnother).Scan(&waiting)
		if err != nil {
			f.Fatal(err)
		}
	}
	close(slow.paused)
	group.Wait()
	return first, second
}

func TestOfTwoFirstImportsAtOnceOneIsToldThatTheListExists(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first, second := f.importBoth(false)
	if first != nil || !errors.Is(second, lists.ErrExists) {
		t.Errorf("got %v and %v, want the second to be told", first, second)
	}
	f.want(f.addresses("people"), []string{"slow1@example.com", "slow2@example.com"})
	f.want(f.strays(), 0)
}

func TestOfTwoReplacementsAtOnceTheLastOneStands(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{true, false} {
		f := newFixture(t)
		if there {
			f.imported("people", of("old@example.com"), false)
		}
		first, second := f.importBoth(true)
		if first != nil || second != nil {
			t.Errorf(
				"a list is there %t: got %v and %v, want both to be done, one after the other",
				there,
				first,
				second,
			)
		}
		f.want(f.addresses("people"), []string{"quick@example.com"})
		f.want(f.strays(), 0)
	}
}

func TestADeletedListIsGoneWithItsMembers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.imported("people", of("a@example.com"), false)
	f.imported("others", of("o@example.com"), false)
	if err := f.store.Delete(t.Context(), "people"); err != nil {
		t.Fatal(err)
	}
	if err := f.store.Delete(t.Context(), "people"); !errors.Is(err, lists.ErrNotFound) {
		t.Errorf("again: got %v, want ErrNotFound", err)
	}
	if _, err := f.store.Get(t.Context(), "people"); !errors.Is(err, lists.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	f.want(f.addresses("people"), []string(nil))
	f.want(f.strays(), 0)
	all, err := f.store.All(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "others" {
		t.Errorf("left: %+v, %v", all, err)
	}
}

func TestFirstFindsTheRowsOfAnAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.imported("people", of("a@example.com", "B@example.com", "b@example.com", "c@example.com"), false)
	f.imported("others", of("b@example.com"), false)
	get := func(key string, limit int) []lists.Entry {
		entries, err := f.store.First(t.Context(), "people", key, limit)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	both := []lists.Entry{
		{Position: 3, Address: "B@example.com", Attributes: field.Values{"row": {Text: "2"}}},
		{Position: 4, Address: "b@example.com", Attributes: field.Values{"row": {Text: "3"}}},
	}
	f.want(get("b@example.com", 10), both)
	f.want(get("b@example.com", 1), both[:1])
	f.want(len(get("nobody@example.com", 10)), 0)
	f.want(len(get("", 3)), 3)
}

func TestAListIsReadInItsOrderAndAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.imported("people", of("c@example.com", "A@example.com", "b@example.com"), false)
	f.imported("others", of("d@example.com"), false)
	var members, entries []string
	err := f.store.Members(t.Context(), "people", func(address string) error {
		members = append(members, address)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.want(members, []string{"c@example.com", "A@example.com", "b@example.com"})
	err = f.store.Entries(t.Context(), "people", 2, func(e lists.Entry) error {
		entries = append(entries, e.Address)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.want(entries, members[:2])
	stop := errors.New("stop")
	if err := f.store.Members(t.Context(), "people", func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the callback's own error", err)
	}
	known, err := f.store.Known(t.Context(), []string{"a@example.com", "d@example.com", "e@example.com"})
	if slices.Sort(known); err != nil || !slices.Equal(known, []string{"a@example.com", "d@example.com"}) {
		t.Errorf("known are %q, %v", known, err)
	}
}

func TestNeitherAnInactiveMemberNorItsOtherRowsAreStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rows := of("a@example.com", "b@example.com", "A@EXAMPLE.com", "c@example.com", "d@example.com", "c@example.com")
	rows.inactive = []int{3, 5, 6}
	got := f.imported("people", rows, false)
	f.want(f.addresses("people"), []string{"b@example.com"})
	f.want([]int64{got.Members, got.Duplicates}, []int64{1, 0})
	rows = of("a@example.com", "a@example.com")
	rows.inactive = []int{1}
	if _, err := f.store.Import(t.Context(), "people", "new.csv", columns, rows, true); !errors.Is(err, lists.ErrEmpty) {
		t.Errorf("got %v, want ErrEmpty", err)
	}
	f.want(f.addresses("people"), []string{"b@example.com"})
}

func TestARowThatTheDatabaseRefusesRollsTheImportBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.imported("people", of("a@example.com"), false)
	_, err := f.store.Import(t.Context(), "people", "new.csv", columns, &source{
		addresses: []string{"x@example.com", "y@example.com"}, spoilt: 2,
	}, true)
	if err == nil || database.Unavailable(err) {
		t.Errorf("got %v", err)
	}
	f.want(f.addresses("people"), []string{"a@example.com"})
}

// rows is a source of n members without any work of its own.
type rows struct{ next, n int }

func (r *rows) Next() (member.Member, error) {
	if r.next == r.n {
		return member.Member{}, io.EOF
	}
	r.next++
	a := fmt.Sprintf("r%d@example.com", r.next)
	parsed, err := address.Parse(a)
	return member.Member{
		Position: int64(r.next + 1), Address: parsed, Attributes: []byte(`{"first_name": "Ann", "city": "Berlin"}`),
	}, err
}

func (r *rows) Rejected() int64 { return 0 }

func BenchmarkImport(b *testing.B) {
	const n = 100_000
	f := newFixture(b)
	for b.Loop() {
		f.imported("people", &rows{n: n}, true)
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "rows/s")
}
