package render

import (
	"reflect"
	"strings"
)

// helperSteps are the steps of each call of a helper: its arguments are converted.
const helperSteps = 8

// choices are the helpers that look at little of their arguments and return one of them, a part of
// one, or a truth.
var choices = wordSet(`get hasKey first mustFirst last mustLast default coalesce empty ternary dig fail
	typeOf typeIs typeIsLike kindOf kindIs all any`)

// heavy says how many times longer than most a helper takes for what it gets.
var heavy = map[string]int{
	"toJson": 4, "mustToJson": 4, "toPrettyJson": 4, "mustToPrettyJson": 4, "toRawJson": 4, "mustToRawJson": 4,
	"fromJson": 8, "mustFromJson": 8, "deepCopy": 8, "mustDeepCopy": 8,
	"merge": 16, "mustMerge": 16, "mergeOverwrite": 16, "mustMergeOverwrite": 16,
	"snakecase": 8, "camelcase": 8, "kebabcase": 8, "swapcase": 4, "untitle": 4, "title": 4, "initials": 4,
	"sortAlpha": 16, "has": 64, "mustHas": 64, "deepEqual": 4, "urlParse": 4, "wrap": 4, "wrapWith": 4,
	"sha1sum": 2, "sha256sum": 2, "sha512sum": 2, "split": 4, "splitn": 4, "dateIn": 16,
}

// slow has the steps of helpers that take long for the shortest value: they read and write dates
// and numbers of any length.
var slow = map[string]int{
	"number": 64, "round": 32, "ceil": 32, "floor": 32, "int": 32, "int64": 32, "toNumber": 64,
	"date": 64, "dateIn": 96, "toDate": 64, "pluralIn": 96, "urlParse": 32, "urlJoin": 32, "duration": 16,
}

// spend takes the steps of a call, and refuses arguments that would make a result far too long
// before it can be weighed.
func (h helper) spend(in []reflect.Value) error {
	if h.budget == nil || choices[h.name] {
		return h.budget.spend(helperSteps)
	}
	room := maxArguments
	for _, each := range in {
		if !weigh(each, &room, maxNesting+1) {
			return errTooMuch
		}
	}
	size := maxArguments - room
	if lengthOf(h.name, in) > maxValue {
		return errValueTooLong
	}
	steps := helperSteps + slow[h.name]
	if h.numeric {
		steps += 16
	}
	return h.budget.spend(steps + size*max(heavy[h.name], 1)/octetsPerStep + comparedBy(h.name, in))
}

// lengthOf returns about how long the result of a helper is, if it can be far longer than what the
// helper gets.
func lengthOf(name string, in []reflect.Value) int {
	text := func(i int) int { return len(in[i].String()) }
	count := func(i int) int { return int(min(max(in[i].Int(), -maxValue-1), maxValue+1)) }
	switch name {
	case "repeat":
		return count(0) * text(1)
	case "indent", "nindent":
		return count(0) * (1 + strings.Count(in[1].String(), "\n"))
	case "replace":
		return text(1) * strings.Count(in[2].String(), in[0].String())
	case "wrapWith":
		return text(1) * text(2) / max(count(0), 1)
	case "join":
		if in[1].Kind() == reflect.Slice {
			return text(0) * in[1].Len()
		}
	case "split", "splitn":
		return (textOctets + entryOctets) * strings.Count(in[len(in)-1].String(), in[0].String())
	case "splitList":
		return textOctets * strings.Count(in[1].String(), in[0].String())
	case "until", "untilStep", "seq":
		length := 0
		for i := range in {
			length += max(count(i), -count(i))
		}
		return wordOctets * length
	}
	return 0
}

// comparedBy returns the steps of the comparisons of a helper that compares all values with each
// other.
func comparedBy(name string, in []reflect.Value) int {
	list := func(i int) int {
		v := in[i]
		for v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if kind := v.Kind(); kind == reflect.Slice || kind == reflect.Array {
			return min(v.Len(), maxValue)
		}
		return 0
	}
	switch name {
	case "uniq", "mustUniq":
		return list(0) * list(0)
	case "without", "mustWithout":
		return 2 * list(0) * len(in)
	}
	return 0
}
