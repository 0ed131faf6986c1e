// Package mailingfile reads a mailing from a YAML file (YAML 1.2) and the templates that it names.
//
// The fields are those of a mailing's input as JSON (docs/mailing.schema.json). Besides, templates
// may be files of their own, and the list may name the file that it is imported from:
//
//	list: {name: subscribers, file: people.csv}
//	content: {text_file: newsletter.txt, html_file: newsletter.html}
//
// Paths are relative to the mailing file. Templates must be in its folder or below, so that a
// mailing file from somebody else cannot mail other files of this machine.
//
// The file must be one document without anchors, aliases, merges and tags. An unknown field, a
// wrong type or a bad value is a fault. Load reports all faults at once, each with the place to
// correct it. The file becomes JSON with the place of each field. Package strictjson decodes that
// JSON, as it decodes an input from Temporal.
package mailingfile

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"directmailer/internal/audience/csvlist"
	"directmailer/workflows"
)

const (
	// maxFile is the length limit of a mailing file, in octets. It can hold as much content as a
	// mailing may have.
	maxFile = 2 << 20
	// maxTemplate is the length limit of a template's file, in octets.
	maxTemplate = 1 << 20
)

// File is a mailing file without a fault, as far as Load checks. Load does not compile templates,
// and does not read the list's file.
type File struct {
	// Path is the path of the mailing file as Load got it.
	Path string
	// Input is valid, and has the templates of the files that the mailing file names. Its ID may be
	// empty, and defaults are not filled in.
	Input workflows.Input
	// ListFile is the path of the file that the list is imported from, absolute or relative to the
	// working directory. It is empty if the mailing file names no file.
	ListFile string
	// List says how that file is read.
	List csvlist.Options

	places map[string]places
	parts  map[string]string // field of content to the path of the file that it is in
	lines  []string
}

// Fault is one problem of a file, with its place, such as "newsletter.yaml:3:7".
type Fault struct {
	Place   string
	Message string
}

func (f Fault) String() string { return f.Place + ": " + f.Message }

// Error is all faults of a mailing file in the order of its lines. Its text has one line for each
// fault.
type Error struct{ Faults []Fault }

func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, fault := range e.Faults {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads the mailing file and validates its input. Any error is an [*Error], and the File is
// nil then.
func Load(path string) (*File, error) {
	f := &File{Path: path, places: map[string]places{}, parts: map[string]string{}}
	r := reader{file: f}
	text, err := readText(path, maxFile)
	if err != nil {
		r.fault(place{}, "%v", err)
		return nil, r.err()
	}
	text = lineEnds.ReplaceAllString(text, "\n")
	f.lines = strings.Split(text, "\n")
	if r.separators(); len(r.faults) > 0 {
		return nil, r.err()
	}
	if root := r.parse(text); root != nil {
		r.read(root)
		r.validate()
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return f, nil
}

// lineEnds are those of Unix, of Windows, of old files, and CR CR LF, which some editors write.
var lineEnds = regexp.MustCompile(`\r*\n|\r`)

// separators refuses characters that YAML takes for line ends and editors do not: a text would end
// at them.
func (r *reader) separators() {
	for i, line := range r.file.lines {
		if before, _, found := cutAny(line, "\u0085\u2028\u2029"); found {
			at := place{line: i + 1, column: utf8.RuneCountInString(before) + 1}
			r.fault(at, "a line separator stands here, as word processors write it: replace it by a blank or a line break")
		}
	}
}

// cutAny is [strings.Cut] at the first of some characters.
func cutAny(s, chars string) (before, after string, found bool) {
	i := strings.IndexAny(s, chars)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i:], true
}

// Locate returns the place of a field: "newsletter.yaml:3:7". With a line and column of a template,
// it returns their place in the file that holds the template: "newsletter.html:12:5". Line and
// column count from 1, and are 0 if they are not known. The place of a field that is left out is
// that of the field around it.
func (f *File) Locate(field string, line, column int) string {
	if part, ok := f.parts[field]; ok {
		return at(part, place{line: line, column: column})
	}
	return at(f.Path, f.place(field).within(line, column))
}

// place returns where a field is, or the field around it.
func (f *File) place(field string) place {
	for field != "" {
		if found, ok := f.places[field]; ok {
			return found.shown
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return place{}
}

// place is a line and a column of the mailing file, from 1; the column counts characters.
type place struct {
	line, column int
	// block is the indentation of a block that begins in the next line; 0 if the value is no block.
	block int
	// joined are the lines of a block that have become one line; nil if they are as they were.
	joined *joinedLines
}

// within returns the place of a line and column of the template that begins at p. Only a literal
// block keeps its lines.
func (p place) within(line, column int) place {
	if p.block == 0 || line == 0 {
		return p
	}
	if p.joined != nil && line == 1 && column > 0 {
		found := p.joined.place(column)
		line, column = found.line, found.column
	}
	if column > 0 {
		column += p.block
	}
	return place{line: p.line + line, column: column}
}

func at(path string, p place) string {
	s := printable(path)
	if p.line > 0 {
		s += ":" + strconv.Itoa(p.line)
		if p.column > 0 {
			s += ":" + strconv.Itoa(p.column)
		}
	}
	return s
}

// printable quotes a path that is not printable.
func printable(path string) string {
	quoted := strconv.QuoteToGraphic(path)
	if quoted == `"`+path+`"` {
		return path
	}
	return quoted
}

// relative resolves a path of the mailing file.
func (f *File) relative(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.Path), path)
}

// reader fills the file and gathers what is wrong.
type reader struct {
	file   *File
	faults []placed
	failed []string // fields that could not be read
}

type placed struct {
	at      place
	message string
}

func (r *reader) fault(at place, format string, args ...any) {
	r.faults = append(r.faults, placed{at, fmt.Sprintf(format, args...)})
}

// fail reports a fault of a field.
func (r *reader) fail(field string, at place, format string, args ...any) {
	r.failed = append(r.failed, field)
	r.fault(at, "%s: %s", oneLine(field), fmt.Sprintf(format, args...))
}

// validate adds the problems of the fields that could be read.
func (r *reader) validate() {
	for _, problem := range r.file.Input.Validate() {
		if !r.hasFailed(problem.Field) {
			r.fault(r.file.place(problem.Field), "%s: %s", problem.Field, oneLine(problem.Message))
		}
	}
}

func (r *reader) hasFailed(field string) bool {
	return slices.ContainsFunc(r.failed, func(failed string) bool { return related(failed, field) })
}

// related reports whether one field is the other, or is in the other: content is empty because
// content.html cannot be read.
func related(a, b string) bool {
	holds := func(a, b string) bool { return strings.HasPrefix(b, a+".") || strings.HasPrefix(b, a+"[") }
	return a == b || holds(a, b) || holds(b, a)
}

func (r *reader) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b placed) int {
		const last = math.MaxInt // what is missing has no line
		return cmp.Or(
			cmp.Compare(cmp.Or(a.at.line, last), cmp.Or(b.at.line, last)),
			cmp.Compare(a.at.column, b.at.column),
		)
	})
	e := &Error{}
	for _, fault := range r.faults {
		e.Faults = append(e.Faults, Fault{at(r.file.Path, fault.at), fault.message})
	}
	return e
}
