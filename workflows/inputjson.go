package workflows

import (
	"encoding/json"
	"errors"
	"reflect"
	"time"

	"directmailer/internal/strictjson"
)

// inputKinds describes the types of the input's fields that are more than a text or a number.
var inputKinds = strictjson.Kinds{
	reflect.TypeFor[time.Time](): "a time such as 2026-01-31T09:00:00Z",
	reflect.TypeFor[Duration]():  `a duration such as "30s" or "5m"`,
	reflect.TypeFor[Rate]():      "a rate such as 20/s, 500/min or none",
	reflect.TypeFor[*Progress](): "left to the workflow",
	reflect.TypeFor[[]Problem](): "left to the workflow",
}

// bare is an Input without its methods.
type bare Input

// wire is an Input as JSON. It includes the problems of the JSON that the input came from, because
// the workflow hands its input on to the activity that validates it.
type wire struct {
	bare
	Misread []Problem `json:"misread,omitempty"`
}

// MarshalJSON writes the input, with the problems of the JSON that it came from.
func (in Input) MarshalJSON() ([]byte, error) { return json.Marshal(wire{bare(in), in.misread}) }

// UnmarshalJSON reads an input. A field that is unknown or of the wrong type is no error:
// [Input.Validate] reports it together with all other problems. Somebody may have typed the JSON
// into the Web UI, and should learn of every slip at once. Only JSON that is no object is an error.
func (in *Input) UnmarshalJSON(data []byte) error {
	var w wire
	problems, err := inputKinds.Decode(data, &w, "")
	if err != nil {
		return errors.New("the input of a mailing must be a JSON object")
	}
	*in = Input(w.bare)
	in.misread = w.Misread
	for _, p := range problems {
		in.misread = append(in.misread, Problem(p))
	}
	in.misread = Bounded(in.misread)
	return nil
}

// Misread returns the problems of the JSON that the input came from: fields that are unknown, given
// twice or of the wrong type. [Input.Validate] reports them, too.
func (in Input) Misread() []Problem { return in.misread }
