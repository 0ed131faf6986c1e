package mailingfile

import (
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// list reads "list: NAME" or "list: {name: NAME, file: PATH}".
func (r *reader) list(n ast.Node) {
	fields, ok := n.(*ast.MappingNode)
	if !ok {
		r.value(n, reflect.ValueOf(&r.file.Input.List).Elem(), "list")
		return
	}
	var list struct {
		Name string `json:"name"`
		File string `json:"file"`
	}
	r.object(fields, reflect.ValueOf(&list).Elem(), "list", nil)
	r.file.Input.List = list.Name
	if list.Name == "" && !r.hasFailed("list.name") {
		r.fail("list", r.file.place("list"), "must name a list: the one that the file is imported as")
	}
	if name, ok := r.file.places["list.name"]; ok {
		r.file.places["list"] = name
	}
	if file, ok := r.file.places["list.file"]; ok && r.named("list.file", list.File, file) {
		r.file.ListFile = r.file.relative(list.File)
	}
}

// content reads the fields of the content, but that templates may also be in files of their own.
func (r *reader) content(n ast.Node) {
	fields, ok := r.mapping(n, "content")
	if !ok {
		return
	}
	var files struct {
		Text string `json:"text_file"`
		HTML string `json:"html_file"`
	}
	file := func(name string) func(ast.Node) {
		field := reflect.ValueOf(&files).Elem().FieldByName(name)
		return func(n ast.Node) { r.value(n, field, "content."+strings.ToLower(name)+"_file") }
	}
	content := &r.file.Input.Content
	r.object(fields, reflect.ValueOf(content).Elem(), "content", map[string]func(ast.Node){"text_file": file("Text"), "html_file": file("HTML")})
	content.Text = r.part("content.text", content.Text, files.Text)
	content.HTML = r.part("content.html", content.HTML, files.HTML)
}

// part returns the template of a field, wherever it is.
func (r *reader) part(field, inline, path string) string {
	at, ok := r.file.places[field+"_file"]
	if !ok || !r.named(field+"_file", path, at) {
		return inline
	}
	if inline != "" {
		r.failed = append(r.failed, field)
		r.fail(field+"_file", at, "is there besides %s: only one of them can be what is sent", field)
		return ""
	}
	file := r.file.relative(path)
	r.file.parts[field], r.file.places[field] = file, at
	text, err := readBelow(filepath.Dir(r.file.Path), path, maxTemplate)
	if err != nil {
		r.failed = append(r.failed, field)
		r.fail(field+"_file", at, "%s: %v", printable(file), err)
	}
	return text
}

// named tells whether a field names a file. That it is empty is a fault.
func (r *reader) named(field, path string, at place) bool {
	if path == "" && !r.hasFailed(field) {
		r.fail(field, at, "names no file")
	}
	return path != ""
}
