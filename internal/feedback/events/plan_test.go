package events_test

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A session may keep a plan of the time when no recipient was there. Such a plan must not read all
// recipients of the mailing that comes next.
func TestRecipientsOfEventsAreLookedUpByTheirWholeKeyBeforeThereAreStatistics(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	query, err := os.ReadFile("sql/recipients.sql")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := f.pool.Query(t.Context(), "EXPLAIN\n"+string(query),
		pgx.NamedArgs{"mailings": []int64{1, 1}, "numbers": []int32{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	plan := strings.Join(lines, "\n")
	if !strings.Contains(plan, "Index Cond: ((mailing = x.mailing) AND (number = x.number))") {
		t.Errorf("the plan:\n%s", plan)
	}
}
