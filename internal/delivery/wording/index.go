package wording

import (
	"strings"
	"sync"
)

// headSize is how many octets of a literal the index looks at first.
const headSize = 4

// literal is a text that a match of a pattern holds.
type literal struct {
	text    string
	pattern int
}

// index finds the literals of all patterns in one pass.
type index struct {
	heads  [1 << 16]bool        // by hash: a literal may begin with these octets
	byHead map[string][]literal // by the first octets
	always []int                // patterns with a literal that is too short, or without one
}

var literals = sync.OnceValue(func() *index {
	x := &index{byHead: map[string][]literal{}}
	for i, l := range Lines() {
		all, _ := literalsOf(l.Pattern)
		if shortest(all) < headSize {
			x.always = append(x.always, i)
			continue
		}
		for _, text := range all {
			head := text[:headSize]
			x.heads[hash(head)] = true
			x.byHead[head] = append(x.byHead[head], literal{text, i})
		}
	}
	return x
})

// in calls do for each pattern that may match the text, once or more often.
func (x *index) in(text string, do func(pattern int)) {
	for _, i := range x.always {
		do(i)
	}
	for at := 0; at+headSize <= len(text); at++ {
		head := text[at : at+headSize]
		if !x.heads[hash(head)] {
			continue
		}
		for _, l := range x.byHead[head] {
			if strings.HasPrefix(text[at:], l.text) {
				do(l.pattern)
			}
		}
	}
}

func hash(head string) uint16 {
	n := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16 | uint32(head[3])<<24
	return uint16(n * 0x9e3779b1 >> 16)
}
