package render

import (
	"bytes"
	"text/template/parse"

	"directmailer/internal/content/message"
)

// passage is a text of a template between two actions, the same for everybody. Quoted-printable is a matter of whole lines: those between
// its first and its last line break are encoded once. Those two lines it shares with its neighbours, and they are encoded with them.
type passage struct {
	length      int
	first, last int // the whole lines within it
	encoded     []byte
}

// passages are found by where their text lies in memory: a template's engine writes a text node's own octets each time.
type passages map[*byte]passage

// shortest is the length of the shortest passage that is worth it.
const shortest = 128

// findPassages looks through a template that will not change any more.
func findPassages(found passages, tree *parse.Tree) {
	if tree == nil {
		return
	}
	walk(tree.Root, func(n parse.Node) {
		node, ok := n.(*parse.TextNode)
		if !ok || len(node.Text) < shortest {
			return
		}
		text := node.Text
		p := passage{length: len(text), first: bytes.IndexByte(text, '\n') + 1, last: bytes.LastIndexByte(text, '\n') + 1}
		lines := text[p.first:p.last]
		if len(bytes.TrimSpace(lines)) == 0 {
			return // a body of these alone would be blank
		}
		encoded, err := message.Encode(lines)
		if err != nil {
			return // each recipient is told so
		}
		p.encoded = encoded
		found[&text[0]] = p
	})
}
