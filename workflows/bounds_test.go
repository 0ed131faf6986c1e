package workflows_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"directmailer/workflows"
)

// Temporal cannot carry a refusal of more than 2 MiB: the workflow would be terminated instead of
// refused. A check that compares each entry with all others would take hours here.
func TestAnInputWithThousandsOfSlipsIsRefusedWithAFew(t *testing.T) {
	t.Parallel()
	var unknown, twice, misread strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&unknown, `"field_%d": 1, `, i)
		fmt.Fprintf(&twice, `"subject": %d, `, i)
		fmt.Fprintf(&misread, `{"field": "f%d", "message": "m"}, `, i)
	}
	long := strings.Repeat("ü", 300_000)
	for name, data := range map[string]string{
		"unknown fields":          `{` + unknown.String() + `"list": "people"}`,
		"a field given again":     `{` + twice.String() + `"list": "people"}`,
		"problems of its own":     `{"misread": [` + strings.TrimSuffix(misread.String(), ", ") + `]}`,
		"one long name":           `{"` + long + `": 1}`,
		"long names of rates":     `{"rates": {"domains": {"` + long + `": "x"}, "drop_points": {"` + long + `": "x"}}}`,
		"entries of a wrong type": `{"drop_points": [` + strings.Repeat("1, ", 150_000) + `1]}`,
		"rates of a wrong type":   `{"rates": {"domains": {` + unknown.String() + `"x": 1}}}`,
	} {
		var in workflows.Input
		if err := json.Unmarshal([]byte(data), &in); err != nil {
			t.Fatal(name, err)
		}
		problems := in.Validate()
		refusal, err := json.Marshal(problems)
		if err != nil || len(problems) == 0 || len(problems) > workflows.MaxProblems+1 || len(refusal) > 250_000 {
			t.Errorf("%s: %d problems, %d octets, %v", name, len(problems), len(refusal), err)
		}
	}
}

func TestARefusalSaysHowManyProblemsItLeavesOut(t *testing.T) {
	t.Parallel()
	var in workflows.Input
	names := make([]string, 70)
	for i := range names {
		names[i] = fmt.Sprintf(`"field_%02d": 1`, i)
	}
	if err := json.Unmarshal([]byte("{"+strings.Join(names, ",")+"}"), &in); err != nil {
		t.Fatal(err)
	}
	last := in.Misread()[len(in.Misread())-1]
	want := "is not a field of a mailing. 20 further fields cannot be read: correct these first"
	if last.Field != "field_49" || last.Message != want {
		t.Errorf("got %+v", last)
	}
	many := make([]workflows.Problem, 120)
	bounded := workflows.Bounded(many)
	if got := bounded[len(bounded)-1].Message; !strings.HasPrefix(got, ". 20 further problems are left out") {
		t.Errorf("got %q", got)
	}
	if many[99].Message != "" {
		t.Error("the caller's problems were changed")
	}
}

func TestListsOfAnInputThatAreTooLongAreOneProblemEach(t *testing.T) {
	t.Parallel()
	names := func(n int, pattern string) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf(pattern, i))
		}
		return all
	}
	rates := func(n int, pattern string) map[string]workflows.Rate {
		all := map[string]workflows.Rate{}
		for _, name := range names(n, pattern) {
			all[name] = "1/s"
		}
		return all
	}
	fill := func(in *workflows.Input, points, hosts, rated, domains, outcomes int) {
		in.DropPoints, in.Content.PageHosts = names(points, "mx%d"), names(hosts, "h%d.example.com")
		in.Content.Text, in.Content.PageURL = "", "https://h0.example.com/"
		in.Rates.DropPoints, in.Rates.Domains = rates(rated, "mx%d"), rates(domains, "d%d.example.com")
		in.List = ""
		in.Continue = &workflows.Continuation{Mailing: "old", Outcomes: workflows.ContinuableOutcomes()}
		for range outcomes - 4 {
			in.Continue.Outcomes = append(in.Continue.Outcomes, "sent")
		}
	}
	in := input()
	fill(&in, 100, 100, 100, 1000, 4)
	if problems := in.Validate(); len(problems) > 0 {
		t.Errorf("at the limits: %v", problems)
	}
	fill(&in, 101, 101, 101, 1001, 5)
	var fields []string
	for _, p := range in.Validate() {
		fields = append(fields, p.Field)
	}
	want := "drop_points content.page_hosts rates.drop_points rates.domains continue.outcomes"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got %s", got)
	}
	fill(&in, 100_000, 0, 0, 20_000, 4)
	if problems := in.Validate(); len(problems) != 2 {
		t.Errorf("got %d problems", len(problems))
	}
}
