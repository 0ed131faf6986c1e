package render

import "testing"

func TestABlankSubjectFailsTheRecipient(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Subject = "{{.first_name}}"
	for _, blank := range []string{"", "   "} {
		if p := failure(t, s, anna("first_name", blank)); p.Field != FieldSubject {
			t.Errorf("%q: %v", blank, p)
		}
	}
}
