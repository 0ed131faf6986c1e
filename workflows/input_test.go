package workflows_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"directmailer/workflows"
)

func TestEveryProblemOfAnInputIsReportedAtOnceByItsField(t *testing.T) {
	t.Parallel()
	in := workflows.Input{
		ID: "somebody@example.com", From: "News\r\nBcc: x@example.com", ReplyTo: "nobody", EnvelopeSender: "a@b@", Subject: "Hi\r\nBcc: x",
		List: "../people", DropPoints: []string{"mx", "mx", "M X"}, BatchSize: 9000,
		Retry:       workflows.Retries{DropPoint: workflows.Retry{Attempts: -1, Interval: workflows.Duration(time.Millisecond)}},
		OnUncertain: "perhaps", OnExhausted: "never", NotBefore: time.Unix(10, 0), NotAfter: time.Unix(5, 0), Resume: &workflows.Progress{},
	}
	want := "id from reply_to envelope_sender subject list content drop_points[1] drop_points[2] batch_size retry.drop_point.attempts " +
		"retry.drop_point.interval on_uncertain on_exhausted not_after resume"
	var fields []string
	for _, p := range in.Validate() {
		fields = append(fields, p.Field)
		if strings.Contains(p.Message, "example.com") {
			t.Errorf("%s: the message quotes an address: %s", p.Field, p.Message)
		}
	}
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAGoodInputHasNoProblemAndKeepsWhatItSays(t *testing.T) {
	t.Parallel()
	in := input()
	in.NotAfter = time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)
	if problems := in.Validate(); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	in.Resume = &workflows.Progress{Ready: []int{7}, Suspended: &workflows.Suspension{Every: workflows.Duration(time.Minute)}}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var again workflows.Input
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, again) {
		t.Errorf("got  %+v\nwant %+v", again, in)
	}
}

func TestSlipsInAJSONAreReportedWithAllOtherProblems(t *testing.T) {
	t.Parallel()
	var in workflows.Input
	err := json.Unmarshal([]byte(`{"from": 7, "on_uncertian": "hold", "batch_size": "many", "content": {"html": "x", "htlm": "y"},
		"retry": {"drop_point": {"interval": "soon", "tries": 3}}, "not_before": "tomorrow"}`), &in)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range in.Validate() {
		got[p.Field] = p.Message
	}
	for field, part := range map[string]string{
		"from": "must be a text", "on_uncertian": "not a field", "batch_size": "whole number", "content.htlm": "not a field",
		"retry.drop_point.interval": "duration", "retry.drop_point.tries": "not a field", "not_before": "a time", "subject": "missing", "list": "must name",
	} {
		if !strings.Contains(got[field], part) {
			t.Errorf("%s: got %q, want something with %q", field, got[field], part)
		}
	}
}

func TestWhatIsNoObjectIsNoInput(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`[1]`, `"secret"`, `7`, `null`, `{"from": }`} {
		var in workflows.Input
		if err := in.UnmarshalJSON([]byte(data)); err == nil {
			t.Errorf("%s was taken for an input", data)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error quotes the input: %v", err)
		}
	}
}

// The workflow hands its input to OpenMailing as JSON: what was wrong with it must arrive there.
func TestSlipsSurviveThatTheInputIsHandedOn(t *testing.T) {
	t.Parallel()
	data := []byte(`{"on_uncertian": "hold", "zz": 1, "aa": 2, "batch_size": "many", "content": "hello", "retry": {"page": 5, "lost": {}}, "drop_points": [1],
		"resume": 7, "subject": "x", "": 1}`)
	var first workflows.Input
	if err := json.Unmarshal(data, &first); err != nil {
		t.Fatal(err)
	}
	call, err := json.Marshal(workflows.OpenCall{Input: first})
	if err != nil {
		t.Fatal(err)
	}
	var handed workflows.OpenCall
	if err := json.Unmarshal(call, &handed); err != nil {
		t.Fatal(err)
	}
	problems := handed.Input.Validate()
	if !reflect.DeepEqual(problems, first.Validate()) {
		t.Errorf("got  %v\nwant %v", problems, first.Validate())
	}
	var fields []string
	for _, p := range problems {
		fields = append(fields, p.Field)
	}
	want := "content drop_points batch_size retry.page retry.lost resume  aa on_uncertian zz from list"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTheSameJSONGivesTheSameProblemsInTheSameOrder(t *testing.T) {
	t.Parallel()
	data := []byte(`{"q": 1, "w": 1, "e": 1, "r": 1, "t": 1, "y": 1, "content": {"u": 1, "i": 1, "o": 1}}`)
	var first workflows.Input
	if err := json.Unmarshal(data, &first); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		var again workflows.Input
		if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again.Validate(), first.Validate()) {
			t.Fatalf("got %v, %v; want %v", again.Validate(), err, first.Validate())
		}
	}
}

func TestNullIsTheSameAsLeftOut(t *testing.T) {
	t.Parallel()
	var in workflows.Input
	err := json.Unmarshal([]byte(`{"from": "news@example.com", "subject": "x", "list": "people", "content": {"text": "x", "html": null}, "id": null,
		"retry": null, "drop_points": null, "not_before": null, "resume": null, "batch_size": null}`), &in)
	if err != nil || len(in.Validate()) > 0 {
		t.Errorf("got %v, %v", in.Validate(), err)
	}
}

func TestAnInputThatTemporalCannotCarryIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		html string
		fits bool
	}{
		{strings.Repeat("x", workflows.MaxInput-1000), true},
		{strings.Repeat("x", workflows.MaxInput), false},
		{strings.Repeat("<", workflows.MaxInput/6-200), true},
		{strings.Repeat("<", workflows.MaxInput/6), false}, // each is \u003c
	} {
		in := input()
		in.Content.HTML = c.html
		problems := in.Validate()
		if c.fits != (len(problems) == 0) {
			t.Errorf("%d times %q: %v", len(c.html), c.html[0], problems)
		}
		data, err := json.Marshal(in)
		if err != nil || c.fits != (len(data) <= workflows.MaxInput) {
			t.Errorf("%d times %q: %d octets, %v", len(c.html), c.html[0], len(data), err)
		}
	}
}

func TestNulCharactersAreRefused(t *testing.T) {
	t.Parallel()
	in := input() // jsonb cannot hold them
	in.Subject, in.Content = "a\x00b", workflows.Content{Text: "a\x00b", HTML: "a\x00b"}
	var fields []string
	for _, p := range in.Validate() {
		fields = append(fields, p.Field)
	}
	if got := strings.Join(fields, " "); got != "subject content.text content.html" {
		t.Errorf("got %s", got)
	}
}

func TestIDsListsAndDropPointsHavePlainNames(t *testing.T) {
	t.Parallel()
	for id, good := range map[string]bool{
		"spring-2026": true, "A.b_c-9": true, strings.Repeat("a", 100): true, strings.Repeat("a", 101): false, "a@b": false, "-a": false, "a-": false,
		"a--b": false, "a b": false, "a/b": false, "../a": false, "ü": false, "a\n": false,
	} {
		in := input()
		in.ID = id
		if got := len(in.Validate()) == 0; got != good {
			t.Errorf("id %q: %t", id, got)
		}
	}
	for name, good := range map[string]bool{
		"people": true, "a": true, "mx-1": true, "all_people_2026": true, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false, "": false, "People": false,
		"a.b": false, "a--b": false, "-a": false, "a-": false, "a b": false, "a@b": false, "a\n": false, "../a": false,
	} {
		if got := workflows.ValidName(name); got != good {
			t.Errorf("%q: %t", name, got)
		}
	}
}

func TestDefaultsFillOnlyWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	half := workflows.Duration(30 * time.Second)
	got := workflows.Input{BatchSize: 7, Retry: workflows.Retries{Page: workflows.Retry{Attempts: 2}}}.WithDefaults()
	want := workflows.Input{BatchSize: 7, OnUncertain: workflows.Resend, OnExhausted: workflows.Suspend, Retry: workflows.Retries{
		List: workflows.Retry{Attempts: 10, Interval: half}, Database: workflows.Retry{Attempts: 10, Interval: half},
		Page: workflows.Retry{Attempts: 2, Interval: half}, DropPoint: workflows.Retry{Attempts: 5, Interval: half},
	}}
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(got.WithDefaults(), want) {
		t.Errorf("got %+v", got)
	}
}
