package cli

import (
	"errors"
	"fmt"
	"time"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/content"
	"directmailer/internal/content/render"
	"directmailer/starter/internal/mailingfile"
	"directmailer/workflows"
)

// plan is a mailing file without a fault: what will be sent, and where its list comes from.
type plan struct {
	in       workflows.Input
	name     string // base name of the mailing file
	listFile string // empty: the list is stored already
	file     *mailingfile.File
}

// readMailing reads the mailing file and checks all that can be checked without a server. Every fault is told on the standard error, with
// its place. With id the mailing gets that ID; without one, and none in the file, it gets one of the file's name and the time.
func (a *app) readMailing(path, id string) (plan, error) { return a.readFile(path, id, true) }

// readContent is readMailing for a mailing that goes to others than the file's list, which is not looked at.
func (a *app) readContent(path, id string) (plan, error) { return a.readFile(path, id, false) }

func (a *app) readFile(path, id string, withList bool) (plan, error) {
	if path == "" {
		return plan{}, usage("no mailing file is given: name it with -f")
	}
	if err := checkID(id); err != nil {
		return plan{}, err
	}
	faults := faultList{name: base(path)}
	f, err := mailingfile.Load(path)
	faults.add(err)
	if f == nil {
		return plan{}, faults.report(a)
	}
	p := plan{in: f.Input, name: base(path), listFile: f.ListFile, file: f}
	switch {
	case id != "":
		p.in.ID = id
	case p.in.ID == "":
		p.in.ID = derivedID(path, time.Now())
	}
	for _, problem := range content.Check(p.in) {
		faults.problem(f, problem)
	}
	if !p.in.NotAfter.IsZero() && !p.in.NotAfter.After(time.Now()) {
		faults.problem(f, render.Problem{Field: "not_after", Message: "is in the past: nothing would be sent"})
	}
	if p.listFile != "" && withList {
		columns, err := columnsOf(p.listFile)
		faults.add(err)
		if err == nil {
			faults.fields(p, columns)
		}
	}
	return p, faults.report(a)
}

func checkID(id string) error {
	for _, p := range (workflows.Input{ID: id}).Validate() {
		if p.Field == "id" {
			return usage("--id %s", p.Message)
		}
	}
	return nil
}

func columnsOf(path string) ([]string, error) {
	r, err := csvlist.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Columns(), nil
}

// faultList gathers what is wrong with a mailing, one line each.
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

// report shows the faults and returns the error for them; nil when there are none.
func (l *faultList) report(a *app) error {
	if len(l.lines) == 0 {
		return nil
	}
	for _, line := range l.lines {
		a.say("%s", oneLine(line))
	}
	return failf(BadInput, "%s: %s; nothing was done", l.name, count(len(l.lines), "problem"))
}
