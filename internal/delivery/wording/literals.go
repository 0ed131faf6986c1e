package wording

import "regexp/syntax"

// maxLiterals is the most texts that a pattern is spelled out as.
const maxLiterals = 256

// literalsOf returns texts of which each match of the pattern holds one, and whether a text that
// holds one of them matches. It returns none if the pattern has no such texts. Most replies hold
// none of them, and a search for a text is many times faster than a regular expression.
func literalsOf(pattern string) (literals []string, whole bool) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, false
	}
	return spell(parsed.Simplify())
}

func spell(re *syntax.Regexp) (literals []string, exact bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}, re.Flags&syntax.FoldCase == 0
	case syntax.OpCapture:
		return spell(re.Sub[0])
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpQuest:
		literals, exact = spell(re.Sub[0])
		if !exact || literals == nil {
			return nil, false
		}
		return append(literals, ""), true
	case syntax.OpCharClass:
		return spellClass(re)
	case syntax.OpAlternate:
		return spellAlternate(re)
	case syntax.OpConcat:
		return spellConcat(re)
	}
	return nil, false
}

func spellClass(re *syntax.Regexp) (literals []string, exact bool) {
	for i := 0; i < len(re.Rune); i += 2 {
		if re.Rune[i+1]-re.Rune[i] > 4 || len(literals) > 8 {
			return nil, false
		}
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			literals = append(literals, string(r))
		}
	}
	return literals, true
}

func spellAlternate(re *syntax.Regexp) (literals []string, exact bool) {
	exact = true
	for _, sub := range re.Sub {
		l, e := spell(sub)
		if l == nil || len(literals)+len(l) > maxLiterals {
			return nil, false
		}
		literals, exact = append(literals, l...), exact && e
	}
	return literals, exact
}

// spellConcat joins what stands side by side. Where something cannot be spelled out, it begins
// anew, and takes the run whose shortest text is the longest.
func spellConcat(re *syntax.Regexp) (literals []string, exact bool) {
	run, whole := []string{""}, true
	var best []string
	end := func() {
		if shortest(run) > shortest(best) {
			best = run
		}
		run, whole = []string{""}, false
	}
	for _, sub := range re.Sub {
		l, e := spell(sub)
		if l == nil || !e || len(l)*len(run) > maxLiterals {
			end()
		}
		if l == nil {
			continue
		}
		if run = product(run, l); !e {
			end()
		}
	}
	if whole {
		return run, true
	}
	end()
	return best, false
}

func product(heads, tails []string) (all []string) {
	for _, h := range heads {
		for _, t := range tails {
			all = append(all, h+t)
		}
	}
	return all
}

// shortest returns the length of the shortest text, 0 for none.
func shortest(texts []string) int {
	if len(texts) == 0 {
		return 0
	}
	n := len(texts[0])
	for _, t := range texts[1:] {
		n = min(n, len(t))
	}
	return n
}
