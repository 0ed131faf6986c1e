package render

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	texttemplate "text/template"
)

// basics are Go's own functions with limits, and this package's for URLs, styles and comments.
func basics(b *budget) map[string]any {
	return map[string]any{
		urlFunc: func(s string) (string, error) { return b.made(s, normalURL) },
		escapeFunc: func(v any) (string, error) {
			return b.printed(func(v ...any) string { return escapeURLValue(v[0]) }, []any{v})
		},
		shownFunc:      nothingIsEmpty,
		"print":        func(a ...any) (string, error) { return b.printed(fmt.Sprint, a) },
		"println":      func(a ...any) (string, error) { return b.printed(fmt.Sprintln, a) },
		"html":         func(a ...any) (string, error) { return b.printed(texttemplate.HTMLEscaper, a) },
		"js":           func(a ...any) (string, error) { return b.printed(texttemplate.JSEscaper, a) },
		"urlquery":     func(a ...any) (string, error) { return b.printed(texttemplate.URLQueryEscaper, a) },
		"printf":       formatter(b),
		urlFilterFunc:  filtered(b, filterURL),
		srcsetFunc:     filtered(b, srcset),
		cssFilterFunc:  filtered(b, filterCSS),
		nameFilterFunc: filtered(b, filterName),
		bareFunc: func(what, empty string, args ...any) (string, error) {
			return filtered(b, func(what string, args ...any) (string, error) {
				return escapeBare(what, empty, args...)
			})(what, args...)
		},
		commentFunc: func(s string) (string, error) {
			if err := b.read(len(s)); err != nil {
				return "", err
			}
			s = forComment(s)
			return s, b.keep(len(s))
		},
	}
}

// made returns what a function makes of a text.
func (b *budget) made(s string, f func(string) string) (string, error) {
	if err := b.read(len(s)); err != nil {
		return "", err
	}
	return b.text(f(s))
}

// filtered returns a filter that spends the budget.
func filtered(
	b *budget, filter func(string, ...any) (string, error),
) func(string, ...any) (string, error) {
	return func(what string, args ...any) (string, error) {
		size, err := weight(args...)
		if err == nil {
			err = b.read(4 * size)
		}
		if err != nil {
			return "", err
		}
		s, err := filter(what, args...)
		if err != nil {
			return "", err
		}
		return s, b.keep(len(s))
	}
}

// misfit matches what fmt prints when a value does not fit its verb.
var misfit = regexp.MustCompile(`%!(?:[a-zA-Z]\(|\(|\))`)

// formatter returns printf. Go prints "%!d(string=20)" for a value that does not fit: that must not
// be sent. The length is checked before anything is printed.
func formatter(b *budget) func(format string, args ...any) (string, error) {
	return func(format string, args ...any) (string, error) {
		length, err := formattedLength(format, args)
		if err == nil {
			err = b.read(length)
		}
		if err != nil {
			return "", err
		}
		return b.format(format, args)
	}
}

func (b *budget) format(format string, args []any) (string, error) {
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
	return b.text(s)
}

// Of an argument, %q and %x can print up to quotedOctets for each octet.
const quotedOctets = 10

// formattedLength returns a bound of the length of what a format prints, or an error if that may be
// too long. Each verb may print any of the arguments, filled up to the largest number in the format
// or among the arguments, because the arguments of verbs, widths and precisions can be numbered.
func formattedLength(format string, args []any) (int, error) {
	size, err := weight(args...)
	if err != nil {
		return 0, err
	}
	verbs := strings.Count(format, "%")
	fill := 0
	for number, i := 0, 0; i <= len(format); i++ {
		if i < len(format) && format[i] >= '0' && format[i] <= '9' {
			number = min(number*10+int(format[i]-'0'), maxFormatted)
			continue
		}
		fill += number
		number = 0
	}
	if stars := strings.Count(format, "*"); stars > 0 {
		for _, arg := range args {
			if n, ok := goNumber(arg); ok {
				fill += stars * min(int(n.small&(1<<62-1)), 1<<30)
			}
		}
	}
	length := len(format) + fill + size*min(verbs, maxValue)
	if strings.ContainsAny(format, "qxXU#") {
		length += (quotedOctets - 1) * size * min(verbs, maxValue)
	}
	if length > maxFormatted {
		return 0, errValueTooLong
	}
	return length, nil
}

// maxFormatted is the bound of what printf may print. It is larger than maxValue, because most
// verbs print one argument each.
const maxFormatted = 16 << 20
