package counts_test

import (
	"reflect"
	"testing"

	"directmailer/internal/counts"
)

func TestCountsAddUpFieldByField(t *testing.T) {
	t.Parallel()
	a, b := filled(1), filled(100)
	sum := reflect.ValueOf(a.Add(b))
	var total int64
	for i := range sum.NumField() {
		name := sum.Type().Field(i).Name
		one, other := reflect.ValueOf(a).Field(i).Int(), reflect.ValueOf(b).Field(i).Int()
		if got := sum.Field(i).Int(); got != one+other {
			t.Errorf("%s: %d, want %d", name, got, one+other)
		}
		if name != "PossiblyTwice" { // they are among the others
			total += one
		}
	}
	if got := a.Total(); got != total {
		t.Errorf("the total is %d, want %d", got, total)
	}
}

// The contract and the column mailings.counts use the names for JSON, the ledger's statements those
// for the database.
func TestACountHasOneNameInJSONAndInTheDatabase(t *testing.T) {
	t.Parallel()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[counts.Counts]()) {
		if json, db := field.Tag.Get("json"), field.Tag.Get("db"); json != db || json == "" {
			t.Errorf("%s is %q in JSON and %q in the database", field.Name, json, db)
		}
	}
}

// filled returns counts that differ in each field.
func filled(first int64) counts.Counts {
	var c counts.Counts
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(first << i)
	}
	return c
}
