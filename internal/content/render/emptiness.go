package render

import (
	"reflect"

	"directmailer/internal/audience/field"
)

// isEmpty tells whether a value is empty: a text, a list or a dict with nothing in it. Zero and
// false are not empty: a query's number 0 is what the text 0 of a file is.
func isEmpty(v any) bool {
	if v == nil {
		return true
	}
	if s, ok := textValue(v); ok {
		return field.Trim(s) == ""
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array:
		return r.Len() == 0
	case reflect.Pointer, reflect.Interface:
		return r.IsNil()
	}
	return false
}

// defaultValue is sprig's default: the value, or the other one if the value is empty.
func defaultValue(other any, value ...any) any {
	if len(value) == 0 || isEmpty(value[0]) {
		return other
	}
	return value[0]
}

// coalesce returns the first value that is not empty.
func coalesce(values ...any) any {
	for _, v := range values {
		if !isEmpty(v) {
			return v
		}
	}
	return ""
}

// compact returns a list without its empty values.
func compact(list any) (any, error) {
	values := reflect.ValueOf(list)
	if kind := values.Kind(); kind != reflect.Slice && kind != reflect.Array {
		return nil, &valueError{reason: "compact takes a list"}
	}
	kept := []any{}
	for i := range values.Len() {
		if v := values.Index(i).Interface(); !isEmpty(v) {
			kept = append(kept, v)
		}
	}
	return kept, nil
}

func isFalse(v any) bool { return !truth(v) }

// dig returns what a dict has under keys, one below the other: {{dig "address" "city" "" .data}}.
// The last but one argument is for a dict that lacks one of them.
func dig(args ...any) (any, error) {
	if len(args) < 3 {
		return nil, &valueError{reason: `dig takes keys, a default and a dict: (dig "city" "" .address)`}
	}
	keys, other, value := args[:len(args)-2], args[len(args)-2], args[len(args)-1]
	for _, key := range keys {
		dict, isDict := ofLibrary(value).(map[string]any)
		found, there := dict[printed(key)]
		if !isDict || !there {
			return other, nil
		}
		value = found
	}
	return value, nil
}
