package mailingfile

import (
	"encoding/json"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const notPlain = "has an anchor, an alias or a tag (&, *, !): write the value itself, or put the text in quotes"

// places says where a field is.
type places struct {
	name  place // of its name, or of a list's item
	value place // of its value
	// shown is where a problem of the field is shown: at its value, or at its name if the value has
	// fields or items of its own.
	shown place
}

// appendJSON appends a node as JSON and notes where each field in it is. Only the types of values
// count here: whether a field is known, and of the right type, is the decoder's to say.
func (r *reader) appendJSON(b []byte, n *yaml.Node, field string) []byte {
	if !isPlain(n) {
		r.fail(field, start(n), notPlain)
		return append(b, "null"...)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return r.appendObject(b, n, field)
	case yaml.SequenceNode:
		return r.appendArray(b, n, field)
	}
	return appendScalar(b, n)
}

// isPlain refuses what could make little YAML into much, or into something else than it seems.
func isPlain(n *yaml.Node) bool {
	return n.Kind != yaml.AliasNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

func (r *reader) appendObject(b []byte, n *yaml.Node, field string) []byte {
	b = append(b, '{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || !isPlain(key) {
			r.fault(start(key), "a field's name must be a plain text")
			continue
		}
		name := key.Value // as it is: a blank before it must not make it another field's
		path := name
		if field != "" {
			path = field + "." + name
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		r.file.places[path] = r.scalar(path, key, value)
		b = r.appendJSON(b, value, path)
	}
	return append(b, '}')
}

func (r *reader) appendArray(b []byte, n *yaml.Node, field string) []byte {
	b = append(b, '[')
	for i, item := range n.Content {
		if i > 0 {
			b = append(b, ',')
		}
		path := field + "[" + strconv.Itoa(i) + "]"
		r.file.places[path] = places{name: start(item), value: start(item), shown: start(item)}
		b = r.appendJSON(b, item, path)
	}
	return append(b, ']')
}

func appendScalar(b []byte, n *yaml.Node) []byte {
	if n.Style != 0 { // in quotes, or a block
		return appendString(b, n.Value)
	}
	switch n.ShortTag() {
	case "!!null":
		return append(b, "null"...)
	case "!!bool":
		return strconv.AppendBool(b, strings.EqualFold(n.Value, "true"))
	case "!!int":
		return appendInt(b, n)
	case "!!float":
		return append(b, "0.5"...) // no field has a fraction: only the type counts
	}
	return appendString(b, n.Value)
}

// appendInt appends the number of a node: YAML also writes 0x10 and 1_000.
func appendInt(b []byte, n *yaml.Node) []byte {
	var signed int64
	if n.Decode(&signed) == nil {
		return strconv.AppendInt(b, signed, 10)
	}
	var unsigned uint64
	if n.Decode(&unsigned) == nil {
		return strconv.AppendUint(b, unsigned, 10)
	}
	return append(b, "0.5"...)
}

func appendString(b []byte, s string) []byte {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be written
	}
	return append(b, data...)
}

func (r *reader) placesOf(key, value *yaml.Node) places {
	p := places{name: start(key), value: start(value), shown: start(value)}
	switch {
	case isNull(value):
		p.value, p.shown = p.name, p.name
	case value.Kind == yaml.MappingNode, value.Kind == yaml.SequenceNode:
		p.shown = p.name
	case value.Style&yaml.LiteralStyle != 0:
		p.shown.block = r.file.indent(value.Line) - leading(value.Value)
	}
	return p
}

// indent is how far the first line that is not blank after a line is indented.
func (f *File) indent(line int) int {
	return leading(strings.Join(f.lines[min(line, len(f.lines)):], "\n"))
}

// leading is the number of blanks at the start of the first line that is not blank.
func leading(text string) int {
	for line := range strings.SplitSeq(text, "\n") {
		if trimmed := strings.TrimLeft(line, " "); strings.TrimSpace(trimmed) != "" {
			return len(line) - len(trimmed)
		}
	}
	return 0
}
