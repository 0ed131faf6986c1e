package render

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"text/template/parse"

	"directmailer/internal/audience/field"
	"directmailer/internal/content/message"
)

// part is one compiled template.
type part struct {
	field    string
	authored *templateText // nil: a position in it says nothing to the author
	constant bool          // has no action
	passages passages
	quick    quick // the same template, if it can be one; else nil
	trees    map[string]*parse.Tree
	calls    map[string]bool // the functions in the trees
	html     bool
}

// output collects what a template writes, up to the limits.
type output struct {
	b        []byte
	budget   *budget
	passages passages         // what need not be collected
	inserts  []message.Insert // where it was
	inserted int              // octets that were not collected
}

func (o *output) Write(p []byte) (int, error) {
	if isTick(p) {
		return len(p), o.budget.spend(len(p))
	}
	if err := o.budget.read(len(p)); err != nil {
		return 0, err
	}
	if len(o.b)+o.inserted+len(p) > maxBytes {
		return 0, errTooLong
	}
	if len(p) >= shortest && o.passages != nil {
		if known, ok := o.passages[&p[0]]; ok && known.length == len(p) {
			o.b = append(o.b, p[:known.first]...)
			o.inserts = append(o.inserts, message.Insert{At: len(o.b), Encoded: known.encoded})
			o.inserted += known.last - known.first
			o.b = append(o.b, p[known.last:]...)
			return len(p), nil
		}
	}
	o.b = append(o.b, p...)
	return len(p), nil
}

func (o *output) empty() {
	o.b, o.inserts, o.inserted = o.b[:0], o.inserts[:0], 0
}

// keepBytes is the largest buffer that is kept for the next recipient.
const keepBytes = 1 << 20

// execute runs the template into o. The result is valid until the next run.
func (p *part) execute(o *output, data *fields) (b []byte, err error) {
	if cap(o.b) > keepBytes {
		o.b = nil
	}
	o.empty()
	if p.quick != nil {
		if p.quick.run(o, data.values) {
			return o.b, nil
		}
		o.empty()
	}
	defer func() {
		if recover() != nil {
			b, err = nil, &Problem{Field: p.field, Message: "the template panicked"}
		}
	}()
	values, err := data.forEngine()
	if err == nil {
		err = o.budget.engine(p).Execute(o, values)
	}
	var stopped *stoppedError
	if errors.As(err, &stopped) {
		return nil, stopped
	}
	if err != nil {
		return nil, p.failure(err, data)
	}
	return o.b, nil
}

var (
	// template: NAME:LINE:COLUMN: executing "NAME" at <CONTEXT>: REASON
	executing  = regexp.MustCompile(`^(?:html/)?template: ?[^:]*:(\d+):(\d+): executing ".*?" at <`)
	missingKey = regexp.MustCompile(`^map has no entry for key ("(?:[^"\\]|\\.)*")$`)
	// Reasons that name only what the author wrote.
	ownWords = regexp.MustCompile(`^(can't evaluate field \w+ in type (?:interface \{\}|string)|` +
		`exceeded maximum template depth \(\d+\)|` +
		`template "[^"]*" not defined|wrong number of args for \w+: want \d+ got \d+)$`)
	// Calls that this package adds to what the author wrote.
	added = regexp.MustCompile(` \| _\w+(?: “[^”]*”)*|_(?:true|list) `)
)

// failure turns an execution error into a Problem. Such an error may quote data. So failure uses
// its position, and only text that comes from the template.
func (p *part) failure(err error, data *fields) *Problem {
	problem := &Problem{Field: p.field, Message: "the template cannot be executed"}
	if limit := exceeded(err); limit != nil {
		problem.Message = limit.Error()
		return problem
	}
	var value *valueError
	text := err.Error()
	m := executing.FindStringSubmatch(text)
	if m == nil {
		if errors.As(err, &value) { // of a field, before anything was executed
			problem.Message = value.Error()
		}
		return problem
	}
	p.place(problem, m[1], m[2])
	// The context is of the template, and the first to come. The reason may quote data.
	context, reason, found := strings.Cut(text[len(m[0]):], ">: ")
	if !found {
		return problem
	}
	context = added.ReplaceAllString(context, "")
	problem.Message = "cannot evaluate " + shorten(context)
	if strings.HasPrefix(context, "_") { // a function that the author has not written
		problem.Message = "cannot write a value"
	}
	switch {
	case errors.As(err, &value) && value.what != "":
		problem.Message = value.Error()
	case value != nil:
		problem.Message += ": " + value.Error()
	case missingKey.MatchString(reason):
		problem.OfTemplate = !p.meetsDicts(data)
		problem.Message = "no field " + missingKey.FindStringSubmatch(reason)[1]
	case ownWords.MatchString(reason):
		problem.OfTemplate = !strings.HasPrefix(reason, "can't") || !p.meetsDicts(data)
		problem.Message += ": " + reason
	}
	return problem
}

// meetsDicts reports whether the template may have looked into an object, which another recipient
// may have with other entries: a document of a query, or of fromJson.
func (p *part) meetsDicts(data *fields) bool {
	for _, v := range data.values {
		if v.Kind == field.JSON || v.Kind == field.Null {
			return true
		}
	}
	return p.calls["fromJson"] || p.calls["mustFromJson"]
}

func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// place sets the position that a template error names.
func (p *part) place(problem *Problem, line, column string) {
	if p.authored == nil {
		return
	}
	l, _ := strconv.Atoi(line)
	c, _ := strconv.Atoi(column)
	problem.Line, problem.Column = p.authored.at(p.authored.offset(l, c))
}
