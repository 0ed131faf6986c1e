package start

import (
	"context"
	"errors"
	"strings"
	"time"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/member"
	"directmailer/internal/content"
	"directmailer/internal/content/render"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/mailingfile"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

// plan is a mailing that is ready to start: what is sent, and where its list comes from.
type plan struct {
	in       workflows.Input
	name     string        // base name of the mailing file
	listFile string        // empty: the list is stored already
	list     *csvlist.File // what is in listFile; nil where it is not read
	file     *mailingfile.File
}

// undecided refuses a list file with a column that says who may be mailed, until the mailing file
// decides about it.
func (p plan) undecided() error {
	if p.list == nil || p.list.Undecided() == nil {
		return nil
	}
	return exit.Errorf(exit.BadInput, "%w. Under list in %s, write status: use (only the active are members) "+
		"or status: ignore (everybody is a member)", p.list.Undecided(), p.name)
}

// readMailing reads the mailing file and checks all that can be checked without a server. It
// reports every problem on the standard error, with its place. With id the mailing gets that ID.
// Without one, and none in the file, the ID is derived from the file's name and the time.
func (a *app) readMailing(ctx context.Context, path, id string) (plan, error) {
	return a.readFile(ctx, path, id, true)
}

// readContent is readMailing for a mailing that does not go to the file's list. It does not read
// the list.
func (a *app) readContent(ctx context.Context, path, id string) (plan, error) {
	return a.readFile(ctx, path, id, false)
}

func (a *app) readFile(ctx context.Context, path, id string, withList bool) (plan, error) {
	if path == "" {
		return plan{}, exit.Usagef("the mailing file is missing: name it with -f")
	}
	if id != "" {
		if err := command.CheckID(id); err != nil {
			return plan{}, err
		}
	}
	faults := faultList{name: output.Base(path)}
	f, err := mailingfile.Load(path)
	faults.add(err)
	if f == nil {
		return plan{}, faults.report(a)
	}
	p := plan{in: f.Input, name: output.Base(path), listFile: f.ListFile, file: f}
	switch {
	case id != "":
		p.in.ID = id
	case p.in.ID == "":
		p.in.ID = derivedID(path, time.Now())
	}
	var mapping []member.Column
	if p.listFile != "" && withList {
		if p.list, err = csvlist.Inspect(ctx, p.listFile, f.List); err == nil {
			mapping = p.list.Mapping
		}
	}
	for _, problem := range content.Check(p.in) {
		faults.problem(f, explainField(p, problem, mapping))
	}
	if !p.in.NotAfter.IsZero() && !p.in.NotAfter.After(time.Now()) {
		faults.problem(f, render.Problem{Field: "not_after", Message: "is in the past: nothing would be sent"})
	}
	faults.add(err)
	if mapping != nil {
		faults.fields(p, member.Fields(mapping))
	}
	return p, faults.report(a)
}

// warnOfMergeTags warns of merge tags of other systems, which every recipient would see as they
// are. A start has them among its findings.
func (a *app) warnOfMergeTags(p plan) {
	tags := faultList{}
	for _, tag := range render.MergeTags(content.Spec(p.in, p.in.Audience(), time.Time{}, nil)) {
		tags.problem(p.file, tag)
	}
	for _, line := range tags.lines {
		a.Say("warning: %s", output.OneLine(line))
	}
}

// explainField adds to a problem how the field is written whose header stands in the template.
func explainField(p plan, problem render.Problem, mapping []member.Column) render.Problem {
	text := map[string]string{
		render.FieldToName: p.in.ToName, render.FieldSubject: p.in.Subject, render.FieldText: p.in.Content.Text,
		render.FieldHTML: p.in.Content.HTML, render.FieldPageURL: p.in.Content.PageURL,
	}[problem.Field]
	if name, ok := strings.CutPrefix(problem.Field, render.FieldHeaders+"."); ok {
		text = p.in.Headers[name]
	}
	lines := strings.Split(text, "\n")
	if problem.Line < 1 || problem.Line > len(lines) {
		return problem
	}
	for _, c := range mapping {
		header := strings.TrimSpace(c.Header)
		if header == "" || c.Field == "" || !strings.Contains(lines[problem.Line-1], "."+header) {
			continue
		}
		action := member.Action(c.Field)
		if c.Address {
			action = "{{.email}}"
		}
		if action != "{{."+header+"}}" && !strings.Contains(problem.Message, action) {
			problem.Message += "; the column " + output.Clean(header) + " is " + action
		}
	}
	return problem
}

// faultList collects what is wrong with a mailing, one line each.
type faultList struct {
	name  string
	lines []string
}

func (l *faultList) add(err error) {
	var many *mailingfile.Error
	var faults *csvlist.Faults
	switch {
	case err == nil:
	case errors.As(err, &faults):
		l.lines = append(l.lines, strings.Split(faults.Error(), "\n")...)
	case errors.As(err, &many):
		for _, fault := range many.Faults {
			l.lines = append(l.lines, fault.String())
		}
	default:
		l.lines = append(l.lines, err.Error())
	}
}

// problem adds a problem with its place. Without a mailing file, the place is not known.
func (l *faultList) problem(f *mailingfile.File, p render.Problem) {
	line := p.Field + ": " + p.Message
	if f != nil {
		line = f.Locate(p.Field, p.Line, p.Column) + ": " + line
	}
	l.lines = append(l.lines, line)
}

// fields adds the fields that the templates use and the audience does not have.
func (l *faultList) fields(p plan, columns []string) {
	for _, problem := range content.UnknownFields(p.in, columns) {
		l.problem(p.file, problem)
	}
}

// report shows the faults and returns the error for them, or nil if there are none.
func (l *faultList) report(a *app) error {
	if len(l.lines) == 0 {
		return nil
	}
	for _, line := range l.lines {
		a.Say("%s", output.OneLine(line))
	}
	return exit.Errorf(exit.BadInput, "%s: %s; nothing was done", l.name, output.Count(len(l.lines), "problem"))
}
