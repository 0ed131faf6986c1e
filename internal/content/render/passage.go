package render

import (
	"bytes"
	"text/template/parse"

	"directmailer/internal/content/message"
)

// passage is a text of a template between two actions. It is the same for all recipients.
// Quoted-printable encodes whole lines. So the lines between the first and the last line break of a
// passage are encoded once. Its first and last line are encoded with the neighbouring values, for
// each recipient.
type passage struct {
	length      int
	first, last int // the whole lines within it
	encoded     []byte
}

// passages are found by the address of their text in memory, because a template writes a text
// node's own octets each time.
type passages map[*byte]passage

// shortest is the length of the shortest passage that is encoded beforehand, in octets.
const shortest = 128

// findPassages looks through a template that will not change any more.
func findPassages(found passages, tree *parse.Tree) {
	if tree == nil {
		return
	}
	walk(tree.Root, func(n parse.Node) {
		node, ok := n.(*parse.TextNode)
		if !ok || len(node.Text) < shortest || isTick(node.Text) {
			return
		}
		text := node.Text
		p := passage{
			length: len(text),
			first:  bytes.IndexByte(text, '\n') + 1,
			last:   bytes.LastIndexByte(text, '\n') + 1,
		}
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
