package activities

import (
	"reflect"
	"testing"

	"directmailer/internal/mailings"
	"directmailer/workflows"
)

// The database and the contract have one name for each count. The compiler ensures that the fields
// are the same.
func TestCountsHaveTheSameNamesInTheDatabaseAndInTheContract(t *testing.T) {
	t.Parallel()
	_ = workflows.Counts(mailings.Counts{})
	stored, public := reflect.TypeFor[mailings.Counts](), reflect.TypeFor[workflows.Counts]()
	for i := range stored.NumField() {
		a, b := stored.Field(i), public.Field(i)
		if a.Tag.Get("json") != b.Tag.Get("json") || a.Tag.Get("json") != a.Tag.Get("db") {
			t.Errorf("%s is %q in mailings.counts, %q in a table and %q in the contract",
				a.Name, a.Tag.Get("json"), a.Tag.Get("db"), b.Tag.Get("json"))
		}
	}
}
