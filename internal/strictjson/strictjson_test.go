package strictjson_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"directmailer/internal/strictjson"
)

type speed string

type inner struct {
	Attempts int           `json:"attempts,omitempty"`
	At       time.Time     `json:"at,omitzero"`
	Hidden   string        // has no JSON name
	Deeper   *inner        `json:"deeper,omitempty"`
	Pause    time.Duration `json:"-"`
}

type base struct {
	Name string `json:"name"`
	On   bool   `json:"on"`
}

type target struct {
	base
	Limit  int              `json:"limit" jsonschema:"minimum=0,maximum=100"`
	Inner  inner            `json:"inner"`
	Maybe  *inner           `json:"maybe"`
	Names  []string         `json:"names"`
	Speeds map[string]speed `json:"speeds"`
}

var kinds = strictjson.Kinds{reflect.TypeFor[time.Time](): "a time", reflect.TypeFor[speed](): "a speed"}

func decode(t *testing.T, data string) (target, string) {
	t.Helper()
	var v target
	problems, err := kinds.Decode([]byte(data), &v, "")
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.Field+": "+p.Message)
	}
	return v, strings.Join(lines, "\n")
}

func TestAllFieldsAreRead(t *testing.T) {
	t.Parallel()
	got, problems := decode(
		t,
		` {"name": "n\u00fc", "on" : true, "limit": 0, "inner": {"attempts": 5, "at": "2026-01-31T09:00:00Z"},
		"maybe": {"deeper": {"attempts": -1}}, "names": ["a", "b"], "speeds": {"mx": "5/s", "": "x"}} `,
	)
	want := target{
		base: base{Name: "nü", On: true}, Inner: inner{Attempts: 5, At: time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)},
		Maybe: &inner{
			Deeper: &inner{Attempts: -1},
		}, Names: []string{"a", "b"}, Speeds: map[string]speed{"mx": "5/s", "": "x"},
	}
	if problems != "" || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %s\nwant %+v", got, problems, want)
	}
}

func TestNullIsLeftOut(t *testing.T) {
	t.Parallel()
	got, problems := decode(
		t,
		`{"name": null, "on": null, "limit": null, "inner": null, "maybe": null, "names": null, "speeds": null}`,
	)
	if problems != "" || !reflect.DeepEqual(got, target{}) {
		t.Errorf("got %+v, %s", got, problems)
	}
}

func TestEveryProblemIsReportedWithItsPath(t *testing.T) {
	t.Parallel()
	got, problems := decode(t, `{"z": 1, "name": 5, "on": "yes", "limit": 1.5, "a": 1, "names": ["x", 7, null],
		"inner": {"attempts": 0, "at": "0001-01-01T00:00:00Z", "Hidden": "x", "-": 1,
			"deeper": {"attempts": "5", "tries": 1}},
		"maybe": 7, "speeds": {"a": null, "b": 5, "c": "1/s", "c": "2/s"}, "limit": 2, "Name": "x"}`)
	want := `name: must be a text: put it in quotes
on: must be true or false
limit: must be a whole number
inner.attempts: must not be 0: leave it out for the default
inner.at: must not be zero: leave it out for the default
inner.deeper.attempts: must be a whole number
inner.deeper.tries: is not a field of a mailing
inner.-: is not a field of a mailing
inner.Hidden: is not a field of a mailing
maybe: must have fields of its own: attempts, at, deeper
names[1]: must be a text: put it in quotes
names[2]: must be a text: put it in quotes
speeds.a: must be a speed
speeds.b: must be a speed
speeds.c: is given twice
Name: is not a field of a mailing
a: is not a field of a mailing
limit: is given twice
z: is not a field of a mailing`
	if problems != want {
		t.Errorf("got\n%s\nwant\n%s", problems, want)
	}
	if got.Maybe == nil {
		t.Error("a field that cannot be read looks as if it were left out")
	}
	if got.Speeds["c"] != "1/s" || got.Name != "" || got.Limit != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestCollectionsOfAnotherKindAreProblems(t *testing.T) {
	t.Parallel()
	_, problems := decode(
		t,
		`{"inner": [], "names": "x", "speeds": ["5/s"], "name": {"x": 1}, "on": [], "limit": true}`,
	)
	want := `name: must be a text: put it in quotes
on: must be true or false
limit: must be a whole number
inner: must have fields of its own: attempts, at, deeper
names: must be a list, as in ["a", "b"]
speeds: must have fields of its own, as in {"name": "value"}`
	if problems != want {
		t.Errorf("got\n%s\nwant\n%s", problems, want)
	}
}

func TestANumberOutOfRangeIsTheNearestOne(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]int{"99999999999999999999": 1<<63 - 1, "-99999999999999999999": -1 << 63,
		"-5": -5} {
		if got, problems := decode(t, `{"limit": `+data+`}`); got.Limit != want || problems != "" {
			t.Errorf("%s: got %d, %s", data, got.Limit, problems)
		}
	}
}

func TestOnlyAnObjectCanBeDecoded(t *testing.T) {
	t.Parallel()
	for _, data := range []string{``, `[1]`, `"secret"`, `7`, `null`, `{"name": }`, `{"name": "x"`, `{"name"}`, `{7: 1}`} {
		var v target
		if problems, err := kinds.Decode([]byte(data), &v, ""); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %+v, %v, %v", data, v, problems, err)
		}
	}
}

func TestPathsBeginWithTheGivenOne(t *testing.T) {
	t.Parallel()
	var v inner
	problems, err := kinds.Decode([]byte(`{"attempts": "x", "y": 1}`), &v, "retry.page")
	if err != nil || len(problems) != 2 || problems[0].Field != "retry.page.attempts" ||
		problems[1].Field != "retry.page.y" {
		t.Errorf("got %v, %v", problems, err)
	}
}

// FuzzDecode: whatever the JSON, what is decoded without a problem is what encoding/json decodes.
func FuzzDecode(f *testing.F) {
	f.Add(`{"name": "n", "on": true, "limit": 7, "names": ["a"], "speeds": {"a": "b"}, "maybe": {"attempts": 2}}`)
	f.Add(`{"name": 5, "name": "x"}`)
	f.Fuzz(func(t *testing.T, data string) {
		var got, want target
		problems, err := kinds.Decode([]byte(data), &got, "")
		if plain := json.Unmarshal([]byte(data), &want); err == nil && len(problems) == 0 && json.Valid([]byte(data)) {
			if plain != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, want %+v, %v", data, got, want, plain)
			}
		}
		for _, p := range problems {
			if p.Message == "" {
				t.Errorf("%s: a problem without a message at %q", data, p.Field)
			}
		}
	})
}
