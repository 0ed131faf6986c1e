package render

import "reflect"

// maxValue is how long a text that a function gets or makes may be, and about how large a list or a
// dict, in octets. A template can join a value to itself again and again, and memory must not
// follow.
const maxValue = 1 << 20

// maxNesting is how deep lists and dicts may be nested.
const maxNesting = 16

// What values take besides their texts, in octets. An entry of a small map takes more.
const (
	wordOctets  = 8
	textOctets  = 16
	listOctets  = 24
	itemOctets  = 16
	dictOctets  = 64
	entryOctets = 64
)

// weigh takes the size of a value from the room that is left. It returns false when there is too
// little. A value that stands in several places counts several times: that is how it is printed.
func weigh(v reflect.Value, room *int, depth int) bool {
	if depth == 0 {
		return false
	}
	if kind := v.Kind(); (kind == reflect.Slice || kind == reflect.Map) && v.CanInterface() {
		switch v := v.Interface().(type) {
		case []any, listValue, map[string]any, dictValue:
			return weighValue(v, room, depth)
		}
	}
	switch v.Kind() {
	case reflect.String:
		*room -= v.Len()
	case reflect.Interface:
		if v.CanInterface() {
			return weighValue(v.Interface(), room, depth)
		}
		return v.IsNil() || weigh(v.Elem(), room, depth-1)
	case reflect.Pointer:
		*room -= itemOctets
		return v.IsNil() || weigh(v.Elem(), room, depth-1)
	case reflect.Slice, reflect.Array:
		return weighList(v, room, depth)
	case reflect.Map:
		*room -= dictOctets
		for entry := v.MapRange(); entry.Next(); {
			*room -= entryOctets
			if !weigh(entry.Key(), room, depth-1) || !weigh(entry.Value(), room, depth-1) {
				return false
			}
		}
	default:
		*room -= wordOctets
	}
	return *room >= 0
}

func weighList(v reflect.Value, room *int, depth int) bool {
	*room -= listOctets
	switch v.Type().Elem().Kind() {
	case reflect.Uint8, reflect.Int, reflect.Int64, reflect.Float64, reflect.Bool:
		*room -= v.Len() * int(v.Type().Elem().Size())
		return *room >= 0
	}
	for i := range v.Len() {
		if !weigh(v.Index(i), room, depth-1) {
			return false
		}
	}
	return *room >= 0
}

// weighValue is weigh for the types that most values have, without reflection.
func weighValue(v any, room *int, depth int) bool {
	switch v := v.(type) {
	case nil, int, int64, bool, float64:
		*room -= itemOctets
	case string:
		*room -= itemOctets + len(v)
	case decimal:
		*room -= itemOctets + len(v)
	case listValue:
		return weighItems(v, room, depth)
	case []any:
		return weighItems(v, room, depth)
	case dictValue:
		return weighEntries(v, room, depth)
	case map[string]any:
		return weighEntries(v, room, depth)
	default:
		return weigh(reflect.ValueOf(v), room, depth)
	}
	return *room >= 0
}

func weighItems(items []any, room *int, depth int) bool {
	*room -= listOctets
	for _, each := range items {
		if depth <= 1 || !weighValue(each, room, depth-1) {
			return false
		}
	}
	return *room >= 0
}

func weighEntries(entries map[string]any, room *int, depth int) bool {
	*room -= dictOctets
	for name, each := range entries {
		*room -= entryOctets + len(name)
		if depth <= 1 || !weighValue(each, room, depth-1) {
			return false
		}
	}
	return *room >= 0
}

// weight returns the size of values that a function gets. The error says that they are too large
// for one function.
func weight(values ...any) (int, error) {
	room := maxArguments
	for _, v := range values {
		if !weighValue(v, &room, maxNesting+1) {
			return 0, errTooMuch
		}
	}
	return maxArguments - room, nil
}

// maxArguments is how much a function may get in all.
const maxArguments = 2*maxValue + 4096
