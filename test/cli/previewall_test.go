package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// everybody is what `preview --all --output json` says.
type everybody struct {
	Rendered, Rejected, Failed int
	LargestMessage             int `json:"largest_message"`
	Reasons                    []struct {
		Members            int
		Place, Field, Unit string
		Message            string
		Examples           []int
	}
}

// writeLinked writes contents whose HTML fails for a plan that is no web address.
func (s *shell) writeLinked() {
	s.write("letter.html", "<p>{{.first_name}} has\n<a href=\"{{.plan}}\">a site</a></p>\n")
	s.write("letter.txt", "{{.first_name}}\n")
}

func TestEverybodyIsRenderedWithoutServersAndWhoWouldFailIsListedByReason(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	s.writeLetter()
	s.writeLinked()
	people := "email,first_name,plan\nno address,x,y\n"
	for n := range 1000 {
		site := "https://www.example.com/"
		if n%100 == 7 {
			site = "javascript:alert"
		}
		people += fmt.Sprintf("r%d@example.org,Nr %d,%s\n", n, n, site)
	}
	s.write("people.csv", people)
	a := s.run("preview", "-f", "letter.yaml", "--all")
	a.wantError(t, 8, "10 of 1,000 recipients would fail", "people.csv:2: the address has no @")
	a.want(t, 8, "letter.html:2:12", "lines 10, 110, 210", "nothing was sent")
	if strings.Contains(a.out+a.err, "@example.org") || strings.Contains(a.out+a.err, "alert") {
		t.Errorf("data is shown:\n%s%s", a.out, a.err)
	}
	var got everybody
	s.run("preview", "-f", "letter.yaml", "--all", "--output", "json").want(t, 8).decode(t, &got)
	if got.Rendered != 1000 || got.Failed != 10 || got.Rejected != 1 || got.LargestMessage < 500 || len(got.Reasons) != 1 {
		t.Fatalf("%+v", got)
	}
	if r := got.Reasons[0]; r.Members != 10 || r.Place != "letter.html:2:12" || r.Field != "content.html" ||
		r.Unit != "line" || !slices.Equal(r.Examples, []int{10, 110, 210, 310, 410}) {
		t.Errorf("%+v", r)
	}
	s.write("people.csv", strings.ReplaceAll(people, "javascript:alert", "https://www.example.com/"))
	s.run("preview", "-f", "letter.yaml", "--all").wantError(t, 3, "1 row cannot be used")
	s.write("people.csv", strings.Replace(strings.ReplaceAll(people, "javascript:alert", ""), "no address,x,y\n", "", 1))
	s.run("preview", "-f", "letter.yaml", "--all", "--output", "json").want(t, 0, `"reasons": []`)
	for _, one := range []string{"--recipient=a@example.org", "--output-dir=x", "--open"} {
		s.run("preview", "-f", "letter.yaml", "--all", one).wantError(t, 2, "give either --all or --")
	}
	s.run("preview", "-f", "letter.yaml", "--output", "json").wantError(t, 2, "--output needs --all")
}

func TestEverybodyIsRenderedForEachKindOfAudienceAndNothingIsStored(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.createSource()
	want := func(unit string, rendered int, examples ...int) {
		t.Helper()
		var got everybody
		s.run("preview", "-f", "letter.yaml", "--all", "--output", "json").want(t, 8).decode(t, &got)
		if got.Rendered != rendered || len(got.Reasons) != 1 || got.Reasons[0].Unit != unit ||
			!slices.Equal(got.Reasons[0].Examples, examples) {
			t.Errorf("%+v, want %s %v of %d", got, unit, examples, rendered)
		}
	}
	// Who has the plan gold fails for the template.
	s.writeQueryLetter(query)
	s.write("letter.txt", `{{if eq .plan "gold"}}{{.first_name.city}}{{end}}x`)
	want("row", 2, 1, 2)
	s.run("list", "ls", "--output", "json").want(t, 0, "[]")

	s.write("people.csv", people)
	s.run("list", "import", "people", "people.csv").want(t, 3)
	s.write("letter.yaml", strings.Replace(letter, "  file: people.csv\n", "", 1))
	want("line", 4, 2, 4)
	s.run("ls", "--output", "json").want(t, 0, "[]")

	earlier := s.startCancelled()
	s.write("letter.yaml", strings.Replace(letter, "list:\n  name: people\n  file: people.csv\n",
		"continue: {mailing: "+earlier+"}\n", 1))
	s.write("letter.txt", `{{if eq .plan "gold"}}{{.first_name.city}}{{end}}x`)
	want("recipient", 3, 1)
	s.with("DM_SOURCES", "").run("preview", "-f", "letter.yaml", "--all").want(t, 8)
}
