package recipients_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/recipients"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/mailings"
)

var freezeMembers = flag.Int("freeze.members", 100_000, "the members of the lists that BenchmarkFreeze freezes")

// BenchmarkFreeze freezes a list, and copies the same rows into a table with the same columns and
// primary key, as the measure of what this machine and PostgreSQL can do. One after the other in
// turn, on a server of its own that syncs: x-copy is how often the time of the COPY a freeze takes.
func BenchmarkFreeze(b *testing.B) {
	for _, c := range []struct {
		name                 string
		duplicates, optedOut int // one in so many members; 0: none
	}{
		{"plain", 0, 0},
		{"1% opted out", 0, 101},
		{"1% opted out, 2% duplicates", 50, 101},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := *freezeMembers
			f := &fixture{TB: b, pool: ownDatabase(b)}
			f.store, f.mailings = recipients.New(f.pool), mailings.New(f.pool)
			f.manyMembers(n, c.duplicates, c.optedOut)
			f.exec(`CREATE TABLE copied (LIKE recipients); ALTER TABLE copied ADD PRIMARY KEY (mailing, number)`)
			var freezing, copying time.Duration
			runs := 0
			for b.Loop() {
				runs++
				id := fmt.Sprintf("m-%d", runs)
				f.reserve(id)
				f.exec(`CHECKPOINT`)
				began := time.Now()
				if _, err := f.store.Freeze(b.Context(), id, 500); err != nil {
					b.Fatal(err)
				}
				freezing += time.Since(began)
				f.exec(`CHECKPOINT`)
				began = time.Now()
				copied, err := f.pool.CopyFrom(
					b.Context(),
					pgx.Identifier{"copied"},
					[]string{"mailing", "number", "address", "address_key", "attributes"},
					pgx.CopyFromSlice(n, func(i int) ([]any, error) {
						return []any{int64(runs), int32(i + 1), benchAddress(i + 1), benchAddress(i + 1), benchAttributes}, nil
					}))
				if err != nil || copied != int64(n) {
					b.Fatal(copied, err)
				}
				copying += time.Since(began)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(runs*n)/freezing.Seconds(), "members/s")
			b.ReportMetric(float64(runs*n)/copying.Seconds(), "copied/s")
			b.ReportMetric(freezing.Seconds()/copying.Seconds(), "x-copy")
		})
	}
}

func ownDatabase(b *testing.B) *pgxpool.Pool {
	b.Helper()
	url := servertest.OwnPostgres(b).URL("mail")
	pool := servertest.Pool(b, url, 4)
	return pool
}

func benchAddress(n int) string { return fmt.Sprintf("first.last%d@example.org", n) }

var benchAttributes = []byte(
	`{"first_name": "Ann", "last_name": "Example", "city": "Exampletown", "number": "100200300"}`,
)

// manyMembers makes a list whose every so-manieth address is that of the member before, and has
// every so-manieth address opted out.
func (f *fixture) manyMembers(n, duplicates, optedOut int) {
	f.Helper()
	repeated := 0
	if duplicates > 0 {
		repeated = n / duplicates
	}
	f.exec(`INSERT INTO lists (name, source, members, duplicates) VALUES ('people', 'people.csv', $1, $2)`, n, repeated)
	_, err := f.pool.CopyFrom(
		f.Context(),
		pgx.Identifier{"list_members"},
		[]string{"list_id", "position", "address", "address_key", "attributes"},
		pgx.CopyFromSlice(n, func(i int) ([]any, error) {
			i++
			a := benchAddress(i)
			if duplicates > 0 && i%duplicates == 0 {
				a = benchAddress(i - 1)
			}
			return []any{int64(1), int64(i + 1), a, a, benchAttributes}, nil
		}),
	)
	if err != nil {
		f.Fatal(err)
	}
	if optedOut > 0 {
		f.exec(
			`INSERT INTO opt_outs SELECT 'first.last' || n * $2::int || '@example.org', 'asked'
				FROM generate_series(1, $1::int / $2::int) n`,
			n,
			optedOut,
		)
	}
}
