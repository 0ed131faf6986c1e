// Package strictjson decodes JSON (RFC 8259) into structs and reports every problem at once: each
// field that is unknown, given twice, or of another type than it must be. A problem names its field
// by a path such as retry.page.attempts or drop_points[1].
//
// It is the one decoder of a mailing's input. The input comes as JSON from Temporal, or from a YAML
// file that the starter turns into JSON. So each text is good advice for JSON and for YAML.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Messages of problems that are about a field's name, not about its value.
const (
	Unknown = "is not a field of a mailing"
	Twice   = "is given twice"
)

// MaxProblems is the number of problems that Decode reports by themselves. If there are more, one
// further problem counts the others.
const MaxProblems = 50

// maxPath is the length of a path that a problem names, in octets. Names are the author's own, and
// each may be as long as the whole input.
const maxPath = 200

// Problem is a field that cannot be read. Its message continues a sentence and quotes no value.
type Problem struct{ Field, Message string }

// Kinds describes types in words: "a rate such as 20/s". A value of such a type is decoded as a
// whole by [json.Unmarshal].
type Kinds map[reflect.Type]string

// Decode reads the JSON object data into the struct that target points to. Paths in problems begin
// with path, which may be empty. A field that cannot be read keeps its zero value. null is the same
// as a field left out. The error says that data is not a JSON object.
//
// A zero that would be taken for "left out" is a problem, too: 0 for a number whose jsonschema tag
// has no minimum=0, and the zero value of a type with UnmarshalText.
func (k Kinds) Decode(data []byte, target any, path string) ([]Problem, error) {
	members, err := membersOf(data)
	if err != nil {
		return nil, err
	}
	d := decoder{kinds: k}
	d.object(members, reflect.ValueOf(target).Elem(), path)
	if d.more > 0 {
		last := &d.problems[len(d.problems)-1]
		last.Message += fmt.Sprintf(". %d further fields cannot be read: correct these first", d.more)
	}
	return d.problems, nil
}

type decoder struct {
	kinds    Kinds
	problems []Problem // up to MaxProblems
	more     int       // problems that are only counted
}

func (d *decoder) problem(path, message string) {
	if len(d.problems) == MaxProblems {
		d.more++
		return
	}
	if len(path) > maxPath {
		path = strings.ToValidUTF8(path[:maxPath], "") + "…"
	}
	d.problems = append(d.problems, Problem{path, message})
}

// found returns the number of problems so far.
func (d *decoder) found() int { return len(d.problems) + d.more }

// member is a name of a JSON object and its value.
type member struct {
	name  string
	value json.RawMessage
}

var errNoObject = errors.New("must be a JSON object")

// membersOf returns the members of a JSON object in their order.
func membersOf(data []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errNoObject
	}
	var members []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errNoObject
		}
		m := member{name: name.(string)}
		if err := d.Decode(&m.value); err != nil {
			return nil, errNoObject
		}
		members = append(members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, errNoObject
	}
	return members, nil
}

// object fills the struct v in the order of its fields, and then reports the other members.
func (d *decoder) object(members []member, v reflect.Value, path string) {
	fields := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(v.Type()) {
		name := nameOf(f)
		if name == "" {
			continue
		}
		fields[name] = f
		given := slices.IndexFunc(members, func(m member) bool { return m.name == name })
		if given >= 0 {
			d.field(members[given].value, v.FieldByIndex(f.Index), f, join(path, name))
		}
	}
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for i, m := range members {
		switch _, known := fields[m.name]; {
		case i > 0 && m.name == members[i-1].name:
			d.problem(join(path, m.name), Twice)
		case !known:
			d.problem(join(path, m.name), Unknown)
		}
	}
}

// nameOf returns the field's name in JSON, or "" if it has none.
func nameOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// field reads a value and refuses a zero that would be taken for "left out".
func (d *decoder) field(data []byte, v reflect.Value, f reflect.StructField, path string) {
	if isNull(data) {
		return
	}
	before := d.found()
	d.value(data, v, path)
	if d.found() > before || !v.IsZero() {
		return
	}
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case isText:
		d.problem(path, "must not be zero: leave it out for the default")
	case v.Kind() == reflect.Int && !strings.Contains(f.Tag.Get("jsonschema"), "minimum=0"):
		d.problem(path, "must not be 0: leave it out for the default")
	}
}

func isNull(data []byte) bool { return string(data) == "null" }

// value reads a value that is not null, or reports that it has the wrong type.
func (d *decoder) value(data []byte, v reflect.Value, path string) {
	if kind, ok := d.kinds[v.Type()]; ok {
		if json.Unmarshal(data, v.Addr().Interface()) != nil || isNull(data) {
			v.SetZero()
			d.problem(path, "must be "+kind)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem())) // even if it cannot be read: it is not left out
		d.value(data, v.Elem(), path)
	case reflect.Struct:
		members, err := membersOf(data)
		if err != nil {
			d.problem(path, "must have fields of its own: "+strings.Join(names(v.Type()), ", "))
			return
		}
		d.object(members, v, path)
	case reflect.Map:
		d.entries(data, v, path)
	case reflect.Slice:
		d.items(data, v, path)
	default:
		d.scalar(data, v, path)
	}
}

// names returns the JSON names of a struct's fields.
func names(t reflect.Type) (all []string) {
	for _, f := range reflect.VisibleFields(t) {
		if name := nameOf(f); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// entries reads an object whose names are the author's own.
func (d *decoder) entries(data []byte, v reflect.Value, path string) {
	members, err := membersOf(data)
	if err != nil {
		d.problem(path, `must have fields of its own, as in {"name": "value"}`)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, m := range members {
		if v.MapIndex(reflect.ValueOf(m.name)).IsValid() {
			d.problem(join(path, m.name), Twice)
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(m.value, value, join(path, m.name))
		v.SetMapIndex(reflect.ValueOf(m.name), value)
	}
}

func (d *decoder) items(data []byte, v reflect.Value, path string) {
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		d.problem(path, `must be a list, as in ["a", "b"]`)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.value(item, v.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
}

func (d *decoder) scalar(data []byte, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Bool:
		if isNull(data) || json.Unmarshal(data, v.Addr().Interface()) != nil {
			d.problem(path, "must be true or false")
		}
	case reflect.Int:
		// A number that is out of range becomes the nearest one: the field's own bounds refuse it.
		n, err := strconv.ParseInt(string(data), 10, strconv.IntSize)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			d.problem(path, "must be a whole number")
			return
		}
		v.SetInt(n)
	case reflect.String:
		if isNull(data) || json.Unmarshal(data, v.Addr().Interface()) != nil {
			d.problem(path, "must be a text: put it in quotes")
		}
	default:
		panic("strictjson: a field of type " + v.Type().String())
	}
}
