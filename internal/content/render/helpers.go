package render

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/sprig/v3"
)

// sprigHelpers are the functions that are taken from sprig. The same recipient must get the same
// octets again, on any machine. So there is nothing here that reads the clock, the environment, the
// network, a file or a random source, nor anything whose result has no fixed order (keys, values).
// Functions that sprig counts in octets, functions that take a text that is no number for 0, and
// those that take a number 0 for empty are replaced by [ownHelpers]. slice stays Go's own.
const sprigHelpers = `
	trim trimAll trimSuffix trimPrefix upper lower untitle repeat nospace swapcase snakecase camelcase
	kebabcase wrap wrapWith contains hasPrefix hasSuffix quote squote cat indent nindent replace plural toString
	sha1sum sha256sum sha512sum adler32sum b64enc b64dec b32enc b32dec
	split splitList splitn toStrings join sortAlpha until untilStep seq
	add1 add sub div mod mul add1f addf subf divf mulf biggest max min maxf minf float64 atoi
	ternary fail
	toJson mustToJson toPrettyJson mustToPrettyJson toRawJson mustToRawJson
	typeOf typeIs typeIsLike kindOf kindIs deepEqual base dir clean ext isAbs
	list tuple dict get set unset hasKey pluck pick omit merge mergeOverwrite mustMerge
	mustMergeOverwrite deepCopy mustDeepCopy
	append mustAppend push mustPush prepend mustPrepend first mustFirst rest mustRest last mustLast initial mustInitial
	reverse mustReverse uniq mustUniq without mustWithout concat chunk mustChunk
	regexMatch mustRegexMatch regexFindAll mustRegexFindAll regexFind mustRegexFind regexReplaceAll mustRegexReplaceAll
	regexReplaceAllLiteral mustRegexReplaceAllLiteral regexSplit mustRegexSplit regexQuoteMeta
	urlParse urlJoin duration unixEpoch`

// numericHelpers are those whose arguments of any type are numbers.
var numericHelpers = wordSet(`add1 add sub div mod mul add1f addf subf divf mulf
	biggest max min maxf minf float64 atoi`)

// wholeNumbers are those that cut a fraction off without a word: they refuse one.
var wholeNumbers = wordSet(`add1 add sub div mod mul biggest max min`)

// helpers returns the functions that all templates can call. They are made at the first call: the
// command line renders nothing most of the time.
var helpers = sync.OnceValue(allHelpers)

func allHelpers() map[string]any {
	all := map[string]any{}
	library := sprig.GenericFuncMap()
	for name := range wordSet(sprigHelpers) {
		all[name] = adapt(helper{name: name, function: reflect.ValueOf(library[name]), library: true})
	}
	for name, f := range ownHelpers {
		all[name] = adapt(helper{name: name, function: reflect.ValueOf(f)})
	}
	maps.Copy(all, comparisons)
	maps.Copy(all, basics)
	return all
}

// basics are Go's own functions with limits, and this package's for URLs in derived texts.
var basics = map[string]any{
	urlFunc:        normalURL,
	"print":        func(a ...any) (string, error) { return boundedValue(fmt.Sprint(a...)) },
	"println":      func(a ...any) (string, error) { return boundedValue(fmt.Sprintln(a...)) },
	"printf":       formatted,
	urlFilterFunc:  filterURL,
	srcsetFunc:     srcset,
	cssFilterFunc:  filterCSS,
	nameFilterFunc: filterName,
	bareFunc:       escapeBare,
	commentFunc:    forComment,
}

// maxValue is how long the result of a function may be. A template can join a value to itself again
// and again, and memory must not follow.
const maxValue = 1 << 20

var (
	errValueTooLong = &valueError{reason: "the result is longer than 1 MiB"}
	errTooDeep      = &valueError{reason: "a list or dict is nested too deep or too large"}
	errNoNumber     = &valueError{reason: "an argument is not a number: a number has digits and a point, " +
		"without a separator of thousands (1.234 may be either). Read others with toNumber, as in " +
		"(toNumber \"de\" .price)"}
	errEmptyNumber = &valueError{reason: `an argument is empty, not a number: use default, as in (default 0 .points)`}
	errFraction    = &valueError{reason: "an argument has a fraction: use addf, subf, mulf, divf, maxf or minf"}
	errNoText      = &valueError{reason: "an argument is a list or dict, not a text"}
	errFormat      = &valueError{reason: "a value does not fit the format: %d needs a whole number as in " +
		"(int .points), %f a number as in (float64 .price)"}
)

func boundedValue(s string) (string, error) {
	if len(s) > maxValue {
		return "", errValueTooLong
	}
	return s, nil
}

// misfit matches what fmt prints when a value does not fit its verb.
var misfit = regexp.MustCompile(`%!(?:[a-zA-Z]\(|\(|\))`)

// formatted is printf. Go prints "%!d(string=20)" for a value that does not fit: that must not be
// sent.
func formatted(format string, args ...any) (string, error) {
	args = slices.Clone(args)
	for i, arg := range args {
		switch arg := arg.(type) {
		case int:
			args[i] = decimal(strconv.Itoa(arg))
		case int64:
			args[i] = decimal(strconv.FormatInt(arg, 10))
		}
	}
	s := fmt.Sprintf(format, args...)
	if misfit.MatchString(s) && !misfit.MatchString(fmt.Sprint(args...)) {
		return "", errFormat
	}
	return boundedValue(s)
}

// adapt returns a helper that takes fields as they come: a text for a number and the reverse. Its
// result is bounded.
func adapt(h helper) any {
	t := h.function.Type()
	in := make([]reflect.Type, t.NumIn())
	for i := range in {
		in[i] = anyType
		if t.IsVariadic() && i == len(in)-1 {
			in[i] = reflect.TypeFor[[]any]()
		}
	}
	out := []reflect.Type{t.Out(0), errorType}
	if t.Out(0).Kind() == reflect.Float64 {
		out[0] = reflect.TypeFor[decimal]()
	}
	h.result, h.numeric = out[0], numericHelpers[h.name]
	return reflect.MakeFunc(reflect.FuncOf(in, out, t.IsVariadic()), h.call).Interface()
}

var (
	anyType   = reflect.TypeFor[any]()
	errorType = reflect.TypeFor[error]()
	timeType  = reflect.TypeFor[time.Time]()
)

type helper struct {
	name     string
	function reflect.Value
	result   reflect.Type
	library  bool // of sprig
	numeric  bool
}

func (h helper) call(args []reflect.Value) []reflect.Value {
	result, err := h.try(args)
	if err != nil {
		return []reflect.Value{reflect.Zero(h.result), reflect.ValueOf(&err).Elem()}
	}
	return []reflect.Value{result, reflect.Zero(errorType)}
}

func (h helper) try(args []reflect.Value) (result reflect.Value, err error) {
	in, err := h.arguments(args)
	if err != nil {
		return result, err
	}
	if err := bounded(h.name, in); err != nil {
		return result, err
	}
	out := h.function.Call(in)
	if len(out) == 2 && !out[1].IsNil() {
		return result, out[1].Interface().(error)
	}
	if out[0].Kind() == reflect.Float64 {
		text, err := floatText(out[0].Float())
		return reflect.ValueOf(text), err
	}
	room := maxValue
	if !measure(out[0], &room, maxNesting) {
		if out[0].Kind() == reflect.String {
			return result, errValueTooLong
		}
		return result, errTooDeep
	}
	return out[0], nil
}

// arguments converts the arguments to the function's types.
func (h helper) arguments(args []reflect.Value) ([]reflect.Value, error) {
	t := h.function.Type()
	var in []reflect.Value
	for i, arg := range args {
		if t.IsVariadic() && i == len(args)-1 {
			for j := range arg.Len() {
				v, err := h.convert(arg.Index(j), t.In(i).Elem())
				if err != nil {
					return nil, err
				}
				in = append(in, v)
			}
			break
		}
		v, err := h.convert(arg, t.In(i))
		if err != nil {
			return nil, err
		}
		in = append(in, v)
	}
	return in, nil
}

func (h helper) convert(arg reflect.Value, to reflect.Type) (reflect.Value, error) {
	var v any
	if arg.IsValid() && arg.CanInterface() {
		v = arg.Interface()
	}
	switch {
	case to == anyType && h.numeric:
		n, err := wanted(v)
		if err == nil && n.big != nil && wholeNumbers[h.name] {
			err = errFraction
		}
		return reflect.ValueOf(n.value()), err
	case to == anyType && v == nil:
		return reflect.Zero(anyType), nil
	case to == anyType && h.library:
		return reflect.ValueOf(ofLibrary(v)), nil
	case to == timeType:
		t, ok := dateOf(v)
		if !ok {
			return reflect.Value{}, errNoDate
		}
		return reflect.ValueOf(t.at), nil
	case v != nil && reflect.TypeOf(v).AssignableTo(to):
		return reflect.ValueOf(v), nil
	case to.Kind() == reflect.Bool:
		return reflect.ValueOf(truth(v)), nil
	case to.Kind() == reflect.Int, to.Kind() == reflect.Int64, to.Kind() == reflect.Float64:
		n, err := wanted(v)
		if err == nil && n.big != nil && to.Kind() != reflect.Float64 {
			err = errFraction
		}
		return reflect.ValueOf(n.value()).Convert(to), err
	case to.Kind() == reflect.String:
		return textArgument(v)
	case v == nil:
		return reflect.Zero(to), nil
	}
	return reflect.Value{}, errors.New("wrong type of argument")
}

// ofLibrary returns a list or a dict of a query as the type that sprig looks for.
func ofLibrary(v any) any {
	switch v := v.(type) {
	case listValue:
		return []any(v)
	case dictValue:
		return map[string]any(v)
	}
	return v
}

func textArgument(v any) (reflect.Value, error) {
	switch reflect.ValueOf(v).Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		if _, isText := textValue(v); !isText {
			return reflect.Value{}, errNoText
		}
	}
	if s, ok := textValue(v); ok {
		return reflect.ValueOf(s), nil
	}
	return reflect.ValueOf(printed(v)), nil
}

// bounded refuses arguments that would make a result far too long before it can be measured.
func bounded(name string, in []reflect.Value) error {
	text := func(i int) int { return len(in[i].String()) }
	count := func(i int) int { return int(min(max(in[i].Int(), -maxValue-1), maxValue+1)) }
	length := 0
	switch name {
	case "repeat":
		length = count(0) * text(1)
	case "indent", "nindent":
		length = count(0) * (1 + strings.Count(in[1].String(), "\n"))
	case "replace":
		length = text(1) * strings.Count(in[2].String(), in[0].String())
	case "regexReplaceAll", "mustRegexReplaceAll", "regexReplaceAllLiteral", "mustRegexReplaceAllLiteral":
		length = text(2) * text(1) / 16
	case "wrapWith":
		length = text(1) * text(2) / max(count(0), 1)
	case "join":
		if in[1].Kind() == reflect.Slice {
			length = text(0) * in[1].Len()
		}
	case "until", "untilStep", "seq":
		for i := range in {
			length += max(count(i), -count(i))
		}
	}
	if length > maxValue {
		return errValueTooLong
	}
	return nil
}

// maxNesting is how deep lists and dicts may be nested.
const maxNesting = 16

// measure takes the size of a value from the room that is left. It returns false when there is too
// little.
func measure(v reflect.Value, room *int, depth int) bool {
	if depth == 0 {
		return false
	}
	*room--
	switch v.Kind() {
	case reflect.String:
		*room -= v.Len()
	case reflect.Interface, reflect.Pointer:
		return v.IsNil() || measure(v.Elem(), room, depth-1)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !measure(v.Index(i), room, depth-1) {
				return false
			}
		}
	case reflect.Map:
		for entry := v.MapRange(); entry.Next(); {
			if !measure(entry.Key(), room, depth-1) || !measure(entry.Value(), room, depth-1) {
				return false
			}
		}
	}
	return *room >= 0
}
