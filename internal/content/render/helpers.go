package render

import (
	"errors"
	"maps"
	"reflect"
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
	regexQuoteMeta
	urlParse urlJoin duration unixEpoch`

// numericHelpers are those whose arguments of any type are numbers.
var numericHelpers = wordSet(`add1 add sub div mod mul add1f addf subf divf mulf
	biggest max min maxf minf float64 atoi`)

// wholeNumbers are those that cut a fraction off without a word: they refuse one.
var wholeNumbers = wordSet(`add1 add sub div mod mul biggest max min`)

// helpers are the functions of which [helper.bound] makes those that templates call. They are made
// at the first call: the command line renders nothing most of the time.
var helpers = sync.OnceValue(func() map[string]helper {
	all := map[string]helper{}
	library := sprig.GenericFuncMap()
	for name := range wordSet(sprigHelpers) {
		all[name] = newHelper(helper{name: name, function: reflect.ValueOf(library[name]), library: true})
	}
	for name, f := range ownHelpers {
		all[name] = newHelper(helper{name: name, function: reflect.ValueOf(f)})
	}
	for name := range regexHelpers(nil) {
		all[name] = newHelper(helper{name: name, regex: true, function: reflect.ValueOf(regexHelpers(nil)[name])})
	}
	return all
})

// functions returns what templates can call. Within HTML some helpers return HTML. They are for
// parsing only: no budget bounds them, and [part.engine] replaces them.
func functions(html bool) map[string]any {
	all := maps.Clone(unboundHelpers())
	maps.Copy(all, functionsOf(nil, html))
	for _, name := range escapers {
		delete(all, escaperPrefix+name)
	}
	return all
}

var unboundHelpers = sync.OnceValue(func() map[string]any {
	all := map[string]any{}
	for name, h := range helpers() {
		all[name] = h.bound(nil)
	}
	return all
})

// functionsOf returns the functions that are not helpers, and spend the budget.
func functionsOf(b *budget, html bool) map[string]any {
	all := comparisons(b)
	maps.Copy(all, basics(b))
	if html {
		all["lineBreaks"] = b.lineBreaks
		all["_eval_args_"] = evalArgs(b)
		for _, name := range escapers {
			all[escaperPrefix+name] = escaper(b, escaperPrefix+name)
		}
	}
	return all
}

var (
	errValueTooLong = &valueError{reason: "the result is longer than 1 MiB"}
	errTooMuch      = &valueError{reason: "a function gets more than 2 MiB"}
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

// newHelper adapts a function to fields as they come: a text for a number and the reverse.
func newHelper(h helper) helper {
	t := h.function.Type()
	h.in = make([]reflect.Type, t.NumIn())
	for i := range h.in {
		h.in[i] = anyType
		if t.IsVariadic() && i == len(h.in)-1 {
			h.in[i] = reflect.TypeFor[[]any]()
		}
	}
	h.result = t.Out(0)
	if t.Out(0).Kind() == reflect.Float64 {
		h.result = reflect.TypeFor[decimal]()
	}
	h.numeric = numericHelpers[h.name]
	return h
}

// bound returns the function that templates call. It spends the budget, and its result is bounded.
func (h helper) bound(b *budget) any {
	if h.regex {
		h.function = reflect.ValueOf(regexHelpers(b)[h.name])
	}
	h.budget = b
	t := reflect.FuncOf(h.in, []reflect.Type{h.result, errorType}, h.function.Type().IsVariadic())
	return reflect.MakeFunc(t, h.call).Interface()
}

var (
	anyType   = reflect.TypeFor[any]()
	errorType = reflect.TypeFor[error]()
	timeType  = reflect.TypeFor[time.Time]()
)

type helper struct {
	name     string
	function reflect.Value
	in       []reflect.Type // what templates may give
	result   reflect.Type
	library  bool // of sprig
	numeric  bool
	regex    bool
	budget   *budget
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
	if err := h.spend(in); err != nil {
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
	return out[0], h.keep(out[0])
}

// keep takes the room for a result, unless the function only chooses one of its arguments.
func (h helper) keep(result reflect.Value) error {
	if choices[h.name] {
		return nil
	}
	room := maxValue
	if !weigh(result, &room, maxNesting) {
		if result.Kind() == reflect.String {
			return errValueTooLong
		}
		return errTooDeep
	}
	return h.budget.keep(maxValue - room)
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
