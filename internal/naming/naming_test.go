package naming_test

import (
	"strings"
	"testing"

	"directmailer/internal/naming"
)

func TestNamesAndIDsArePlain(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]struct{ name, id bool }{
		"people":                 {true, true},
		"a":                      {true, true},
		"mx-1":                   {true, true},
		"all_people_2026":        {true, true},
		"spring-2026.v2":         {false, true},
		"A.b_c-9":                {false, true},
		strings.Repeat("a", 63):  {true, true},
		strings.Repeat("a", 64):  {false, true},
		strings.Repeat("a", 100): {false, true},
		strings.Repeat("a", 101): {false, false},
		"":                       {false, false},
		"a--b":                   {false, false},
		"-a":                     {false, false},
		"a-":                     {false, false},
		"a b":                    {false, false},
		"a@b":                    {false, false},
		"a/b":                    {false, false},
		"../a":                   {false, false},
		"a\n":                    {false, false},
		"ü":                      {false, false},
	} {
		if naming.Valid(s) != want.name || naming.ValidID(s) != want.id {
			t.Errorf("%q: name %t, ID %t, want %+v", s, naming.Valid(s), naming.ValidID(s), want)
		}
	}
}
