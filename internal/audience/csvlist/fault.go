package csvlist

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// mostFaults is how many faults of a file are told one by one.
const mostFaults = 20

// Error is a fault of the whole file. Line is 0 if no line can be named.
type Error struct {
	File string
	Line int
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Faults are several faults of a file, in the order of its lines.
type Faults struct {
	First []*Error // at most 20
	More  int64    // how many others there are
	// Perhaps says that there may be others than these, because the file was not read to its end.
	Perhaps bool
}

func (f *Faults) Error() string {
	var lines []string
	for _, e := range f.First {
		lines = append(lines, e.Error())
	}
	switch {
	case f.More > 0:
		lines = append(lines, fmt.Sprintf("and %d more", f.More))
	case f.Perhaps:
		lines = append(lines, "and perhaps more: the rest of the file was not read")
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the first faults.
func (f *Faults) Unwrap() []error {
	var all []error
	for _, e := range f.First {
		all = append(all, e)
	}
	return all
}

func (f *Faults) add(e *Error) {
	if len(f.First) < mostFaults {
		f.First = append(f.First, e)
	} else {
		f.More++
	}
}

// cause returns the error without the path, which [Error] names already.
func cause(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &reason{"there is no such file", err}
	case errors.Is(err, fs.ErrPermission):
		return &reason{"may not be read: permission denied", err}
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// reason is err in other words.
type reason struct {
	words string
	err   error
}

func (r *reason) Error() string { return r.words }
func (r *reason) Unwrap() error { return r.err }
