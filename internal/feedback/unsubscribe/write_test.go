package unsubscribe

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The listener's session may keep a plan of the time when no recipient was there. Such a plan must
// not read all recipients of the mailing that comes next.
func TestRecipientsAreLookedUpByTheirWholeKeyBeforeThereAreStatistics(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		tx, err := f.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(t.Context())
		if _, err := tx.Exec(t.Context(), "SET LOCAL plan_cache_mode = "+mode); err != nil {
			t.Fatal(err)
		}
		rows, err := tx.Query(t.Context(), "EXPLAIN "+recipientsQuery, []int64{1, 1}, []int64{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if !strings.Contains(plan, "Index Cond: ((mailing = x.mailing) AND (number = x.number))") {
			t.Errorf("%s:\n%s", mode, plan)
		}
	}
}
