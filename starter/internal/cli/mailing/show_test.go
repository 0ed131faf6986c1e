package mailing

import (
	"testing"

	"directmailer/internal/mailings"
	"directmailer/starter/internal/status"
)

// A worker may take a mailing up after the database was asked for it, and before its rows are read.
func TestAMailingThatHasARowMeanwhileIsListedWithItsRow(t *testing.T) {
	t.Parallel()
	left := without([]status.Status{{ID: "a"}, {ID: "b"}, {ID: "c"}}, []mailings.Mailing{{ID: "b"}, {ID: "old"}})
	if len(left) != 2 || left[0].ID != "a" || left[1].ID != "c" {
		t.Errorf("left are %+v", left)
	}
}
