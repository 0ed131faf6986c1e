package render

import (
	"errors"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Limits of a regular expression. Looking for it takes time by the product of its size and the
// length of the text, and by the square of that length if it is looked for again and again.
const (
	maxPattern      = 1000 // octets
	maxInstructions = 5000
	maxPatterns     = 50 // that are kept compiled
	// patternSteps is how many steps an instruction takes that is compiled, and stepInstructions how
	// many instructions are one step when a text is looked through.
	patternSteps     = 8
	stepInstructions = 32
)

var errPattern = &valueError{reason: "the regular expression is too large: it may have 1000 octets, " +
	"and its repetitions may multiply to about 5000 characters"}

// pattern is a compiled regular expression.
type pattern struct {
	*regexp.Regexp
	instructions int
}

// pattern returns a compiled regular expression. The author writes it, so there are few.
func (b *budget) pattern(expression string) (*pattern, error) {
	if p := b.patterns[expression]; p != nil {
		return p, nil
	}
	if len(expression) > maxPattern {
		return nil, errPattern
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	var fault *syntax.Error
	switch {
	case errors.As(err, &fault) && (fault.Code == syntax.ErrInvalidRepeatSize || fault.Code == syntax.ErrLarge):
		return nil, errPattern
	case err != nil:
		return nil, errSyntax
	}
	n := instructionsOf(parsed)
	if n > maxInstructions {
		return nil, errPattern
	}
	if err := b.spend(patternSteps * n); err != nil {
		return nil, err
	}
	compiled, err := regexp.Compile(expression)
	if err != nil {
		return nil, errSyntax
	}
	if b.patterns == nil || len(b.patterns) >= maxPatterns {
		b.patterns = map[string]*pattern{}
	}
	p := &pattern{compiled, n}
	b.patterns[expression] = p
	return p, nil
}

var errSyntax = &valueError{reason: "an argument is not a regular expression of Go (RE2)"}

// instructionsOf returns a bound of the size of a compiled regular expression.
func instructionsOf(e *syntax.Regexp) int {
	n := 2 + len(e.Rune)/2
	for _, each := range e.Sub {
		n = min(n+instructionsOf(each), maxInstructions+1)
	}
	if e.Op == syntax.OpRepeat {
		n *= max(e.Min, e.Max, 1)
	}
	return min(n, maxInstructions+1)
}

// seek takes the steps for one look through a text.
func (b *budget) seek(p *pattern, octets int) error {
	return b.spend(1 + (octets+1)*p.instructions/stepInstructions)
}

// search counts the matches in a text, up to most (-1: all), and their octets. It takes the steps
// for each look through the rest of the text. What does the same afterwards takes as long again.
func (b *budget) search(p *pattern, s string, most int) (matches, octets int, err error) {
	if err := b.seek(p, len(s)); err != nil {
		return 0, 0, err
	}
	defer func() {
		if r := recover(); r != nil {
			done, ok := r.(enough)
			if !ok {
				panic(r)
			}
			err = done.err
		}
	}()
	left := len(s)
	p.ReplaceAllStringFunc(s, func(match string) string {
		if matches == most {
			panic(enough{})
		}
		matches++
		octets += len(match)
		left -= len(match)
		if err := b.seek(p, left); err != nil {
			panic(enough{err})
		}
		return ""
	})
	return matches, octets, nil
}

// enough ends a search. There is no other way out of [regexp.Regexp.ReplaceAllStringFunc].
type enough struct{ err error }

// regexHelpers are sprig's functions of regular expressions. Sprig compiles the expression at each
// call, and nothing bounds its search.
func regexHelpers(b *budget) map[string]any {
	all := map[string]any{
		"regexMatch": func(expression, s string) (bool, error) {
			p, err := b.patternFor(expression, s)
			return err == nil && p.MatchString(s), err
		},
		"regexFind": func(expression, s string) (string, error) {
			p, err := b.patternFor(expression, s)
			if err != nil {
				return "", err
			}
			return p.FindString(s), nil
		},
		"regexFindAll": func(expression, s string, n int) ([]string, error) {
			p, err := b.patternOfLists(expression, s, n)
			if err != nil {
				return nil, err
			}
			return p.FindAllString(s, n), nil
		},
		"regexSplit": func(expression, s string, n int) ([]string, error) {
			p, err := b.patternOfLists(expression, s, n)
			if err != nil {
				return nil, err
			}
			return p.Split(s, n), nil
		},
		"regexReplaceAll": func(expression, s, by string) (string, error) {
			return b.replaceAll(expression, s, by, strings.Count(by, "$"), (*regexp.Regexp).ReplaceAllString)
		},
		"regexReplaceAllLiteral": func(expression, s, by string) (string, error) {
			return b.replaceAll(expression, s, by, 0, (*regexp.Regexp).ReplaceAllLiteralString)
		},
	}
	for _, name := range slices.Collect(maps.Keys(all)) {
		all["must"+strings.ToUpper(name[:1])+name[1:]] = all[name]
	}
	return all
}

// patternFor returns a compiled regular expression for one look through a text.
func (b *budget) patternFor(expression, s string) (*pattern, error) {
	p, err := b.pattern(expression)
	if err == nil {
		err = b.seek(p, len(s))
	}
	return p, err
}

// patternOfLists returns a compiled regular expression for a list of up to n of its matches.
func (b *budget) patternOfLists(expression, s string, n int) (*pattern, error) {
	p, err := b.pattern(expression)
	if err != nil {
		return nil, err
	}
	matches, _, err := b.search(p, s, n)
	if err == nil {
		err = b.keep(matches * itemOctets)
	}
	return p, err
}

// replaceAll replaces all matches by a text that holds a number of references to groups.
func (b *budget) replaceAll(
	expression, s, by string, references int, replace func(*regexp.Regexp, string, string) string,
) (string, error) {
	p, err := b.pattern(expression)
	if err != nil {
		return "", err
	}
	matches, octets, err := b.search(p, s, -1)
	if err != nil {
		return "", err
	}
	if len(s)+matches*len(by)+octets*references > maxFormatted {
		return "", errValueTooLong
	}
	return b.text(replace(p.Regexp, s, by))
}
