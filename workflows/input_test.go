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
	in.Resume = &workflows.Progress{Ready: []workflows.ReadyBatch{{Batch: 7}}, Suspended: &workflows.Suspension{Every: workflows.Duration(time.Minute)}}
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
	if err := json.Unmarshal([]byte(`[1]`), &in); err == nil {
		t.Error("an array was taken for an input")
	}
}
