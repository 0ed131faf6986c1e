package member_test

import (
	"slices"
	"strings"
	"testing"

	"directmailer/internal/audience/member"
)

func TestAHeaderNamesTheFieldsAndTheAddressColumn(t *testing.T) {
	t.Parallel()
	for cells, want := range map[string]string{
		"email":                                  "",
		"First Name,EMAIL,home-town":             "first_name home_town",
		"mail,email":                             "mail", // email is the more certain of the two
		"E.Mail , a":                             "a",
		"name":                                   "has no column for the e-mail address: name it email; the columns are name",
		"email,":                                 "column 2 (without a name) cannot be a field of templates",
		"email,1st":                              `column 2 ("1st") cannot be a field of templates`,
		"email,a,A":                              "columns 2 and 3 are both named a",
		"ada@example.com,Ada":                    "holds an @ in column 1: the first line must name the columns",
		"email," + strings.Repeat("a", 50) + "!": "…",
	} {
		h, err := member.ReadHeader(strings.Split(cells, ","))
		if err == nil && strings.Join(h.Columns(), " ") != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want %s", cells, h.Columns(), err, want)
		}
		if err != nil && strings.Contains(err.Error(), "ada@") {
			t.Errorf("the error quotes an address: %v", err)
		}
	}
}

func TestAMemberHasItsAddressAndItsFieldsInOrder(t *testing.T) {
	t.Parallel()
	h, err := member.ReadHeader([]string{"town", "email", "name"})
	if err != nil {
		t.Fatal(err)
	}
	m, reason := h.Member(7, []byte("before"), []string{`"Köln"`, " Ada@EXAMPLE.com ", "A\n\\da"})
	const want = `before{"town":"\"Köln\"","name":"A\u000a\\da"}`
	if reason != "" || m.Position != 7 || m.Address.String() != "Ada@example.com" || string(m.Attributes) != want {
		t.Errorf("got %+v with %s, %q", m, m.Attributes, reason)
	}
}

func TestARowThatIsNoMemberHasAReasonWithoutTheAddress(t *testing.T) {
	t.Parallel()
	h, err := member.ReadHeader([]string{"email", "name"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{[]string{"secret@example.com"}, "has 1 field, but the header names 2 columns"},
		{[]string{"secret@example.com", "", ""}, "has 3 fields, but the header names 2 columns"},
		{[]string{" ", "Ada"}, "has no address"},
		{[]string{"secret", "Ada"}, "the address has no @"},
		{[]string{"secret@example.com", strings.Repeat("x", 64<<10)}, "the fields are longer than 64 KiB together"},
	} {
		m, reason := h.Member(1, nil, c.fields)
		if reason != c.want || m.Address.String() != "" {
			t.Errorf("%.40q: got %q, %q; want %q", c.fields, m.Address, reason, c.want)
		}
	}
}

func TestColumnsDoesNotChangeTheHeader(t *testing.T) {
	t.Parallel()
	h, err := member.ReadHeader([]string{"a", "email", "b"})
	if err != nil {
		t.Fatal(err)
	}
	h.Columns()[0] = "x"
	if got := h.Columns(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
}
