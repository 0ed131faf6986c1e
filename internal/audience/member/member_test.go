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
		"email":                      "",
		"First Name,EMAIL,home-town": "first_name home_town",
		"mail,email":                 "mail", // email is the more certain of the two
		"E.Mail , a":                 "a",
		"Nom,Adresse de messagerie":  "nom", // of Outlook
		"name":                       "has no column for the e-mail address: name it email; the columns are name",
		"email,,!?,*":                "", // columns without a name are left out
		"email,1st":                  "_1st",
		"email,a,A,a_2,(a)":          "a a_3 a_2 a_4",
		"e-mail,name,E Mail":         "columns 1 and 3 are both named e_mail: rename the one that is not mailed",
		"Contact @ work,@,Email":     "contact_work",
		"ada@example.com,Ada":        "holds an @ in column 1: the first line must name the columns",
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

func TestANameOfAnyScriptBecomesAFieldByOneRule(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"First Name":                "first_name",
		" What's your first name? ": "what_s_your_first_name",
		"Workshop (morning)":        "workshop_morning",
		"__ID__":                    "id",
		"1st choice":                "_1st_choice",
		"a\u00a0b\u200bc":           "a_b_c",
		"\ufeffEmail":               "email",
		"Ｅｍａｉｌ":                     "email",
		"Pre\u0301nom":              "prénom",
		"STRASSE ß":                 "strasse_ß",
		"ชื่อ":                      "ชื่อ",
		"पहला नाम":                  "पहला_नाम",
		"প্রথম নাম":                 "প্রথম_নাম",
		"முதல் பெயர்":               "முதல்_பெயர்",
		"Имя (полное)":              "имя_полное",
		"ﾒｰﾙ":                       "メール",
		"Rating ★\ufe0f":            "rating",
		"1\ufe0f\u20e3 seat":        "_1_seat",
		"{{.email}}":                "email",
		"=1+1":                      "_1_1",
		"\u0301":                    "",
		" - ":                       "",
		"£/$":                       "",
	} {
		got := member.FieldName(header)
		if got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
		if again := member.FieldName(got); again != got {
			t.Errorf("%q: %q becomes %q", header, got, again)
		}
	}
	if got := member.Action("имя") + member.Action("ชื่อ"); got != `{{.имя}}{{index . "ชื่อ"}}` {
		t.Errorf("actions: %s", got)
	}
}

func TestAColumnThatIsLeftOutIsCountedAndNotStored(t *testing.T) {
	t.Parallel()
	h, err := member.ReadHeader([]string{"", "Email", "Plan", "plan", "-"})
	if err != nil {
		t.Fatal(err)
	}
	m, reason := h.Member(2, nil, []string{"x", "ada@example.com", "gold", "silver", "y"})
	if want := `{"plan":"gold","plan_2":"silver"}`; string(m.Attributes) != want || reason != "" {
		t.Errorf("got %s, %q; want %s", m.Attributes, reason, want)
	}
	want := []member.Column{{Number: 1}, {Number: 2, Header: "Email", Field: "email", Address: true},
		{Number: 3, Header: "Plan", Field: "plan"}, {Number: 4, Header: "plan", Field: "plan_2", Same: 3},
		{Number: 5, Header: "-"}}
	if got := h.Mapping(); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}
