package workflows_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
)

// filler sets each field of a value, at any depth, to a value that is not zero and that no other
// field has.
type filler struct {
	n     int64
	fixed map[string]any // values that must be others, by path
}

func (f *filler) fill(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	f.n++
	if fixed, ok := f.fixed[path]; ok {
		v.Set(reflect.ValueOf(fixed))
		return
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2100, 1, 1, 0, 0, int(f.n), 0, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("value ", f.n))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(f.n * int64(time.Second)) // which is a duration that is written in whole
	case reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(t, path, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			f.fill(t, path+"[]", v.Index(i))
		}
	case reflect.Map:
		key, element := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(t, path+"{key}", key)
		f.fill(t, path+"{}", element)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, element)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(t, strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i))
			}
		}
	default:
		t.Fatalf("%s is a %s: this test does not know how to fill it", path, v.Kind())
	}
}

// A paused run that continues as new changes nothing in its progress. So the next run must have
// every field of it: a mailing that forgets its pause would start by itself.
func TestContinueAsNewForgetsNoFieldOfTheProgress(t *testing.T) {
	t.Parallel()
	var given workflows.Progress
	f := filler{fixed: map[string]any{"Step": workflows.StepSend, "State": workflows.StatePaused}}
	f.fill(t, "", reflect.ValueOf(&given).Elem())

	rig := newRig(t, 1)
	rig.env.SetContinuedExecutionRunID("the run before")
	rig.env.SetContinueAsNewSuggested(true)
	in := input()
	in.Resume = &given
	rig.run(in)
	var again *workflow.ContinueAsNewError
	if err := rig.env.GetWorkflowError(); !asError(err, &again) {
		t.Fatalf("got %v, want continue-as-new", err)
	}
	if len(rig.calls) > 0 {
		t.Errorf("a paused mailing began %v", rig.calls)
	}
	var next workflows.Input
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &next); err != nil {
		t.Fatal(err)
	}
	if next.Resume == nil {
		t.Fatal("the next run has no progress")
	}
	want, got := reflect.ValueOf(given), reflect.ValueOf(*next.Resume)
	for i := range want.NumField() {
		if name := want.Type().Field(i).Name; name != "Seal" && !reflect.DeepEqual(got.Field(i).Interface(),
			want.Field(i).Interface()) {
			t.Errorf("the next run has %s %+v, this one had %+v",
				name, got.Field(i).Interface(), want.Field(i).Interface())
		}
	}
}

// The settings of the input hold for all runs, except those that the first run has stored in the
// database.
func TestContinueAsNewForgetsNoSettingOfTheInput(t *testing.T) {
	t.Parallel()
	var given workflows.Input
	f := filler{
		fixed: map[string]any{
			"ID":              id,
			"BatchSize":       7,
			"MaxErrorPercent": 3,
			"ErrorMinimum":    9,
			"OnUncertain":     workflows.Hold,
			"OnExhausted":     workflows.Fail,
			"Resume":          (*workflows.Progress)(nil),
			"Query.SQL":       "",
			"Query.Timeout":   workflows.Duration(time.Minute),
			"Content":         workflows.Content{},
			"Headers":         map[string]string(nil),
			"Continue":        (*workflows.Continuation)(nil),
		},
	}
	f.fill(t, "", reflect.ValueOf(&given).Elem())
	given.Resume = &workflows.Progress{
		Step:   workflows.StepSend,
		State:  workflows.StatePaused,
		Paused: &workflows.Pause{Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
	}

	rig := newRig(t, 1)
	rig.env.SetContinuedExecutionRunID("the run before")
	rig.env.SetContinueAsNewSuggested(true)
	rig.run(given)
	var again *workflow.ContinueAsNewError
	if err := rig.env.GetWorkflowError(); !asError(err, &again) {
		t.Fatalf("got %v, want continue-as-new", err)
	}
	var next workflows.Input
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &next); err != nil {
		t.Fatal(err)
	}
	want, got := reflect.ValueOf(given), reflect.ValueOf(next)
	for i := range want.NumField() {
		if field := want.Type().Field(i); field.IsExported() && field.Name != "Resume" &&
			!reflect.DeepEqual(got.Field(i).Interface(), want.Field(i).Interface()) {
			t.Errorf("the next run has %s %+v, this one had %+v",
				field.Name, got.Field(i).Interface(), want.Field(i).Interface())
		}
	}
}
