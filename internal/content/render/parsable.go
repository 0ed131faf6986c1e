package render

import (
	"errors"
	"strings"
)

var errCostly = errors.New("its HTML opens too many formatting elements, such as <b> and <font>, " +
	"for a parser: use styles")

// maxReopened bounds the elements that a parser of HTML makes. As the standard wants, it opens each
// formatting element that is not closed again in each following block. So 500 times <b id=…> and
// 100,000 times <p> would make 50 million elements.
const maxReopened = 1 << 20

// maxOpen is how many elements x/net/html has open at a time: it refuses a page with more.
const maxOpen = 512

// formatting are the formatting elements of the standard, apart from a and nobr, of which a parser
// has one at a time.
var formatting = wordSet("b big code em font i s small strike strong tt u")

// costly tells whether a parser might make far too many elements of some HTML. It counts the
// formatting elements without looking whether they are closed: at most three that are the same can
// be open.
func costly(html string) bool {
	tags := strings.Count(html, "<")
	if tags*maxOpen < maxReopened {
		return false
	}
	open := 0
	seen := map[string]int{}
	for at := 0; open < maxOpen; {
		i := strings.IndexByte(html[at:], '<')
		if i < 0 {
			break
		}
		at += i + 1
		end := at
		for end < len(html) && letter(html[end]) && end-at < 8 {
			end++
		}
		if !formatting[strings.ToLower(html[at:end])] {
			continue
		}
		tag := html[at : at+tagLength(html[at:])]
		if seen[tag]++; seen[tag] <= 3 {
			open++
		}
	}
	return tags*open >= maxReopened
}

// tagLength returns the length of a tag up to the ">" that ends it. A ">" within quotes behind an
// "=" does not.
func tagLength(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '>':
			return i
		case '=':
			for i+1 < len(s) && strings.IndexByte(" \t\n\f\r", s[i+1]) >= 0 {
				i++
			}
			if i+1 == len(s) || s[i+1] != '"' && s[i+1] != '\'' {
				continue
			}
			end := strings.IndexByte(s[i+2:], s[i+1])
			if end < 0 {
				return len(s)
			}
			i += 2 + end
		}
	}
	return len(s)
}
