package sample_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"directmailer/internal/audience/field"
	"directmailer/internal/content/render"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token/tokentest"
	"directmailer/starter/internal/sample"
	"directmailer/workflows"
)

// member returns the member n of a list, with a points field of two digits.
func member(n int, more map[string]string) render.Recipient {
	fields := map[string]string{"name": "Nr " + fmt.Sprintf("%04d", n), "points": "50", "notes": "x"}
	for name, value := range more {
		fields[name] = value
	}
	return render.Recipient{Address: fmt.Sprintf("r%d@example.org", n), Attributes: field.Texts(fields)}
}

// numbers adds 1,000 members, some with special fields, and returns the numbers of the sample.
func numbers(s *sample.Sample, special map[int]map[string]string) (all []int32) {
	for n := 1; n <= 1000; n++ {
		s.Add(member(n, special[n]))
	}
	for _, r := range s.Recipients() {
		all = append(all, r.Number)
	}
	return all
}

func firstTwenty() (all []int32) {
	for n := range int32(20) {
		all = append(all, n+1)
	}
	return all
}

func TestTheSampleHasTheFirstMembersAndThoseWithExtremeValuesOfUsedFields(t *testing.T) {
	t.Parallel()
	special := map[int]map[string]string{
		300: {"points": ""}, 301: {"points": " \t"}, 400: {"points": "100000"}, 500: {"points": "n/a"}, 600: {"points": "+1"},
		700: {"notes": strings.Repeat("long ", 99)}, // no template uses it
	}
	want := append(firstTwenty(), 300, 400, 500)
	if got := numbers(sample.New([]string{"points"}), special); !slices.Equal(got, want) {
		t.Errorf("one field: got %v", got)
	}
	short := map[int]map[string]string{450: {"points": "6"}, 500: {"points": "n/a"}, 600: {"points": "+1"}}
	want = append(firstTwenty(), 450, 500, 600)
	if got := numbers(sample.New([]string{"points"}), short); !slices.Equal(got, want) {
		t.Errorf("one field without an empty value: got %v", got)
	}
	want = append(firstTwenty(), 300, 400, 500, 1000) // the last name in the order of characters
	if got := numbers(sample.New([]string{"points", "name"}), special); !slices.Equal(got, want) {
		t.Errorf("two fields: got %v", got)
	}
	if got := numbers(sample.New(nil), special); !slices.Contains(got, 700) || !slices.Contains(got, 400) {
		t.Errorf("any field: got %v", got)
	}
	if got := numbers(sample.New([]string{}), special); !slices.Equal(got, firstTwenty()) {
		t.Errorf("no field: got %v", got)
	}
}

func TestTheSampleReadsNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fields []string
		want   int
	}{
		"no field": {[]string{}, 20},
		"a field":  {[]string{"points"}, sample.MaxMembers},
	} {
		s, n := sample.New(test.fields), 1
		one := member(1, nil)
		for s.Add(one) {
			n++
		}
		if n != test.want {
			t.Errorf("%s: %d members were read, want %d", name, n, test.want)
		}
	}
}

func TestASampleOfAShortListIsTheList(t *testing.T) {
	t.Parallel()
	s := sample.New([]string{"name"})
	if got := s.Recipients(); len(got) != 0 {
		t.Errorf("nobody: got %v", got)
	}
	s.Add(member(1, nil))
	if got := s.Recipients(); len(got) != 1 || got[0].Number != 1 {
		t.Errorf("one member: got %v", got)
	}
}

func TestAMailingIsRefusedForItsTemplateAndWarnedOfForItsData(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		content workflows.Content
		special map[int]map[string]string
		failed  int
		refused bool
		problem string // the first one
	}{
		"good": {content: workflows.Content{Text: "Hello {{.name}}"}},
		"all fail on their data": {
			workflows.Content{HTML: `<a href="{{.bad}}">x</a>`}, nil, 20, true, "content.html line 1, column 12",
		},
		"a few fail on their data": {
			workflows.Content{HTML: `<a href="{{.link}}">x</a>`},
			map[int]map[string]string{3: {"link": "javascript:a"}, 4: {"link": "vbscript:b"}},
			2, false, "content.html line 1, column 12",
		},
		"one who is not the first fails on the template": {
			workflows.Content{Text: "Hi {{if gt .points 60}}{{.points.more}}{{end}}"},
			map[int]map[string]string{900: {"points": "700"}},
			1, true, "content.text line 1, column 33",
		},
		"a field of nobody": {
			workflows.Content{Text: `Hi {{if eq .name "Nr 0005"}}{{.gone}}{{end}}`}, nil,
			1, true, `content.text line 1, column 31: no field "gone"`,
		},
		"a page": {workflows.Content{PageURL: "https://www.example.com/{{.name}}"}, nil, 0, false, ""},
		"a page's URL": {
			workflows.Content{PageURL: "https://www.example.com/{{.name.x}}"}, nil, 21, true, "content.page_url",
		},
	} {
		in := workflows.Input{ID: "m", From: "a@example.com", Subject: "Hi", List: "people", Content: test.content}
		trial, err := sample.NewTrial(t.Context(), in, sample.Known{})
		if err != nil {
			t.Fatal(name, err)
		}
		s := trial.Sample()
		for n := 1; n <= 1000; n++ {
			m := member(n, map[string]string{"link": "https://www.example.com", "bad": "javascript:x"})
			for name, value := range test.special[n] {
				m.Attributes[name] = field.Value{Text: value}
			}
			s.Add(m)
		}
		got := trial.Render(s)
		if got.Refused() != test.refused || got.Failed != test.failed {
			t.Errorf("%s: got %+v", name, got)
		}
		if test.problem != "" && (len(got.Problems) == 0 || !strings.HasPrefix(got.Problems[0].Error(), test.problem)) {
			t.Errorf("%s: got the problems %+v, want %s", name, got.Problems, test.problem)
		}
	}
}

func TestLinksToThisMachineAreOneWarningAndNoFaultOfTheMessages(t *testing.T) {
	t.Parallel()
	in := workflows.Input{ID: "m", From: "a@example.com", Subject: "Hi", List: "people",
		Content: workflows.Content{HTML: `<p>Hello, <a href="{{.unsubscribe_url}}">unsubscribe</a></p>`}}
	for url, local := range map[string]bool{
		"http://127.0.0.1:8080": true, "https://localhost:8443": true, "https://mail.example.com": false,
	} {
		links := feedback.Settings{Keys: tokentest.Keys(t, "a"), PublicURL: url}
		trial, err := sample.NewTrial(t.Context(), in, sample.Known{Feedback: links})
		if err != nil {
			t.Fatal(err)
		}
		s := trial.Sample()
		s.Add(member(1, nil))
		var found []string
		for _, f := range trial.Render(s).Findings {
			if name := string(f.Code); strings.HasPrefix(name, "unsubscribe") || strings.HasPrefix(name, "link") {
				found = append(found, name)
			}
		}
		if want := map[bool]string{true: "unsubscribe-local"}[local]; strings.Join(found, " ") != want {
			t.Errorf("%s: found %q, want %q", url, found, want)
		}
	}
}
