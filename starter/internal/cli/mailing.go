package cli

import (
	"errors"
	"fmt"
	"time"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/member"
	"directmailer/internal/content"
	"directmailer/internal/content/render"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/mailingfile"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

// plan is a mailing that is ready to start: what is sent, and where its list comes from.
type plan struct {
	in       workflows.Input
	name     string // base name of the mailing file
	listFile string // empty: the list is stored already
	file     *mailingfile.File
}

// readMailing reads the mailing file and checks all that can be checked without a server. It
// reports every problem on the standard error, with its place. With id the mailing gets that ID.
// Without one, and none in the file, the ID is derived from the file's name and the time.
func (a *app) readMailing(path, id string) (plan, error) { return a.readFile(path, id, true) }

// readContent is readMailing for a mailing that does not go to the file's list. It does not read
// the list.
func (a *app) readContent(path, id string) (plan, error) { return a.readFile(path, id, false) }

func (a *app) readFile(path, id string, withList bool) (plan, error) {
	if path == "" {
		return plan{}, exit.Usagef("the mailing file is missing: name it with -f")
	}
	if id != "" {
		if err := checkID(id); err != nil {
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
		mapping, err = mappingOf(p.listFile)
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
	if err := faults.report(a); err != nil {
		return p, err
	}
	a.warnOfMergeTags(p)
	return p, nil
}

// warnOfMergeTags warns of merge tags of other systems, which every recipient would see as they
// are.
func (a *app) warnOfMergeTags(p plan) {
	tags := faultList{}
	for _, tag := range render.MergeTags(content.Spec(p.in, time.Time{})) {
		tags.problem(p.file, tag)
	}
	for _, line := range tags.lines {
		a.say("warning: %s", output.OneLine(line))
	}
}

// checkID refuses what cannot be a mailing's ID.
func checkID(id string) error {
	for _, p := range (workflows.Input{ID: id}).Validate() {
		if id == "" || p.Field == "id" {
			return exit.Usagef(
				"%q is not a valid mailing ID: it must be up to 100 letters and digits, with single . _ or - between them",
				output.Typed(id),
			)
		}
	}
	return nil
}

func mappingOf(path string) ([]member.Column, error) {
	r, err := csvlist.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Mapping(), nil
}

// faultList collects what is wrong with a mailing, one line each.
type faultList struct {
	name  string
	lines []string
}

func (l *faultList) add(err error) {
	var many *mailingfile.Error
	switch {
	case err == nil:
	case errors.As(err, &many):
		for _, fault := range many.Faults {
			l.lines = append(l.lines, fault.String())
		}
	default:
		l.lines = append(l.lines, err.Error())
	}
}

func (l *faultList) problem(f *mailingfile.File, p render.Problem) {
	l.lines = append(l.lines, fmt.Sprintf("%s: %s: %s", f.Locate(p.Field, p.Line, p.Column), p.Field, p.Message))
}

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
		a.say("%s", output.OneLine(line))
	}
	return exit.Errorf(exit.BadInput, "%s: %s; nothing was done", l.name, output.Count(len(l.lines), "problem"))
}
