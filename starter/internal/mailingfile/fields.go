package mailingfile

import (
	"encoding/json"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v4"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/strictjson"
)

// read fills the input from the file's fields. What a file can say and an input cannot is taken out
// first: the list's file, and the files of templates.
func (r *reader) read(root *yaml.Node) {
	r.forbid(root, "", "resume", "misread", "test")
	if query := find(root, "query"); query != nil {
		r.forbid(query, "query.", "stored")
	}
	r.list(root)
	parts := r.templateFiles(root)
	if err := json.Unmarshal(r.appendJSON(nil, root, ""), &r.file.Input); err != nil {
		r.fault(place{}, "%v", err)
		return
	}
	for _, p := range r.file.Input.Misread() {
		r.misread(strictjson.Problem(p))
	}
	content := &r.file.Input.Content
	content.Text = r.part("content.text", content.Text, parts.Text)
	content.HTML = r.part("content.html", content.HTML, parts.HTML)
}

// forbid takes out fields that an input has and no author sets.
func (r *reader) forbid(n *yaml.Node, path string, names ...string) {
	for _, name := range names {
		if key, _ := r.take(n, name, path); key != nil {
			r.fail(path+name, start(key), strictjson.Unknown)
		}
	}
}

// misread reports what the decoder could not read. A value that is reported already is not reported
// again.
func (r *reader) misread(p strictjson.Problem) {
	at := r.file.places[p.Field]
	switch {
	case p.Message == strictjson.Unknown, p.Message == strictjson.Twice:
		r.fail(p.Field, at.name, "%s", p.Message)
	case !r.hasFailed(p.Field):
		r.fail(p.Field, at.value, "%s", p.Message)
	}
}

// find returns the value of a field of a mapping, or nil.
func find(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// take removes a field from a mapping and returns its name and value, or nil. A second field of
// that name is a fault.
func (r *reader) take(n *yaml.Node, name, path string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); {
		if n.Content[i].Value != name {
			i += 2
			continue
		}
		if key != nil {
			r.fail(path+name, start(n.Content[i]), strictjson.Twice)
		}
		key, value = n.Content[i], n.Content[i+1]
		n.Content = slices.Delete(n.Content, i, i+2)
	}
	return key, value
}

// decode reads a mapping that an input does not have.
func (r *reader) decode(n *yaml.Node, target any, path string) {
	problems, err := strictjson.Kinds{}.Decode(r.appendJSON(nil, n, path), target, path)
	if err != nil { // an anchor, an alias or a tag: reported already
		return
	}
	for _, p := range problems {
		r.misread(p)
	}
}

// list reads "list: {name: NAME, file: PATH, …}", and leaves "list: NAME" in the file's fields.
func (r *reader) list(root *yaml.Node) {
	n := find(root, "list")
	if n == nil || n.Kind != yaml.MappingNode || !isPlain(n) {
		return
	}
	var list struct {
		Name     string `json:"name"`
		File     string `json:"file"`
		Encoding string `json:"encoding"`
		Status   string `json:"status"`
	}
	r.decode(n, &list, "list")
	key, _ := r.take(root, "list", "")
	at, ok := r.file.places["list.name"]
	if !ok {
		at = places{name: start(key), value: start(key), shown: start(key)}
	}
	if list.Name == "" && !r.hasFailed("list.name") {
		r.fail("list", at.name, "must name a list: the one that the file is imported as")
	}
	name := &yaml.Node{
		Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: list.Name, Line: at.value.line, Column: at.value.column,
	}
	root.Content = append(root.Content, key, name)
	if file, ok := r.file.places["list.file"]; ok && r.named("list.file", list.File, file.shown) {
		r.file.ListFile = r.file.relative(list.File)
	}
	r.listOptions(list.Encoding, list.Status)
}

// listOptions takes what the mailing file says of the list's file.
func (r *reader) listOptions(encoding, status string) {
	for _, name := range []string{"list.encoding", "list.status"} {
		if at, ok := r.file.places[name]; ok && r.file.ListFile == "" && !r.hasFailed("list.file") {
			r.fail(name, at.name, "needs list.file: it says how that file is read")
		}
	}
	r.file.List.Encoding = encoding
	at, ok := r.file.places["list.status"]
	if !ok || r.hasFailed("list.status") {
		return
	}
	var err error
	if r.file.List.Status, err = csvlist.ParseStatus(status); err != nil {
		r.fail("list.status", at.value, "%v", err)
	}
}

// templateFiles takes content.text_file and content.html_file out of the file's fields.
func (r *reader) templateFiles(root *yaml.Node) (files struct {
	Text string `json:"text_file"`
	HTML string `json:"html_file"`
}) {
	content := find(root, "content")
	if content == nil || content.Kind != yaml.MappingNode {
		return files
	}
	taken := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range []string{"text_file", "html_file"} {
		if key, value := r.take(content, name, "content."); key != nil {
			taken.Content = append(taken.Content, key, value)
		}
	}
	r.decode(taken, &files, "content")
	return files
}

// part returns the template of a field: the one in the mailing file, or that of the file at path.
func (r *reader) part(field, inline, path string) string {
	found, ok := r.file.places[field+"_file"]
	at := found.shown
	if !ok || !r.named(field+"_file", path, at) {
		return inline
	}
	if inline != "" {
		r.failed = append(r.failed, field)
		r.fail(field+"_file", at, "is there besides %s: only one of them can be what is sent", field)
		return ""
	}
	file := r.file.relative(path)
	r.file.parts[field], r.file.places[field] = file, found
	text, err := readBelow(filepath.Dir(r.file.Path), path, maxTemplate)
	if err != nil {
		r.failed = append(r.failed, field)
		r.fail(field+"_file", at, "%s: %v", printable(file), err)
	}
	return text
}

// named reports whether a field names a file. An empty name is a fault.
func (r *reader) named(field, path string, at place) bool {
	if path == "" && !r.hasFailed(field) {
		r.fail(field, at, "names no file")
	}
	return path != ""
}
