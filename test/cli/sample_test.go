package cli

import (
	"fmt"
	"strings"
	"testing"
)

// A template that every recipient fails on is told before anything is done, whatever the audience.
func TestATemplateThatSuitsNobodyIsRefusedForEachKindOfAudience(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.createSource()
	s.writeLetter()
	id := newID(t)
	refused := func(place string, args ...string) {
		t.Helper()
		for _, more := range [][]string{{"--dry-run"}, nil} {
			a := s.run(append(append([]string{"start", "--id", id}, args...), more...)...)
			a.wantError(t, 2, place, "can't evaluate field city", "nothing was done")
			if strings.Contains(a.out+a.err, "@") {
				t.Errorf("an address is shown: %s%s", a.out, a.err)
			}
		}
		s.run("show", id).wantError(t, 4)
	}
	s.write("letter.txt", "Hello\n\n{{.first_name.city}}\n")
	refused("letter.txt:3:14: content.text: ", "-f", "letter.yaml")
	s.run("list", "ls", "--output", "json").want(t, 0, "[]")

	s.run("list", "import", "people", "people.csv").want(t, 3)
	s.write("letter.yaml", strings.Replace(letter, "  file: people.csv\n", "", 1))
	refused("(4 of a sample of 4 recipients)", "-f", "letter.yaml")

	s.writeQueryLetter(query)
	s.write("letter.txt", "Hello\n\n{{.first_name.city}}\n")
	refused("(2 of a sample of 2 recipients)", "-f", "letter.yaml")

	earlier := s.startCancelled()
	s.write("letter.txt", "Hello\n\n{{.first_name.city}}\n")
	refused("(3 of a sample of 3 recipients)", "--continue", earlier, "-f", "letter.yaml")
}

// A few recipients do not hold a mailing up. The field and the place say what to correct.
func TestASampleWarnsOfRecipientsWhoWouldFailAndNamesNobody(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	people := "email,first_name,plan,site\n"
	for n := range 500 {
		site := "https://www.example.com/"
		if n == 400 { // the longest
			site = "javascript:" + strings.Repeat("x", 50)
		}
		people += fmt.Sprintf("r%d@example.org,Nr %d,free,%s\n", n, n, site)
	}
	s.write("people.csv", people)
	s.write("letter.html", "<p>{{.first_name}} has\n<a href=\"{{.site}}\">a site</a></p>\n")
	s.worker()
	id := newID(t)
	const warning = "warning: these recipients would fail: letter.html:2:12: content.html: the value of .site is"
	a := s.run("start", "-f", "letter.yaml", "--id", id, "--dry-run").
		want(t, 0, warning, " recipients rendered, 1 would fail")
	b := s.run("start", "-f", "letter.yaml", "--id", id, "--watch").
		wantError(t, 10, warning, "(1 of a sample of ", "1 failed")
	for _, text := range []string{a.err, b.err} {
		if strings.Contains(text, "@") || strings.Contains(text, "xxx") {
			t.Errorf("data is shown: %s", text)
		}
	}
	if m := s.show(id); m.Sent != 499 || m.Failed != 1 {
		t.Errorf("%+v", m)
	}
}

// What depends on no value is the template's fault, although only one recipient comes to it.
func TestATemplateThatFailsBehindAConditionIsRefused(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.write("letter.txt", "Hello {{if eq .plan \"gold\"}}{{.plan.price}}{{end}}\n")
	s.write("people.csv", "email,first_name,plan\na@example.com,Ann,free\nb@example.com,Bob,free\nc@example.com,Cy,gold\n")
	s.run("start", "-f", "letter.yaml", "--id", newID(t)).wantError(t, 2,
		"letter.txt:1:36: content.text: cannot evaluate .plan.price", "(1 of a sample of 3 recipients)",
		"the template fails whatever the recipient's fields are; nothing was done")
	s.run("list", "ls", "--output", "json").want(t, 0, "[]")
}

// A source that is away holds no start up: the workers wait for it.
func TestAStartWithoutASampleSaysSo(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeQueryLetter(query)
	s.env["DM_SOURCES"] = "crm=postgres://127.0.0.1:1/none"
	s.run("start", "-f", "letter.yaml", "--id", newID(t), "--dry-run")
	s.run("start", "-f", "letter.yaml", "--id", newID(t)).want(t, 0, "warning: no sample of the recipients was rendered")
}
