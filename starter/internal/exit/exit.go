// Package exit holds the exit codes of the starter, and errors that carry one.
package exit

import "fmt"

// Code is the exit code of the program. Scripts decide by it, so a code keeps its meaning.
type Code int

// The exit codes.
const (
	Done         Code = 0
	Unexpected   Code = 1
	BadInput     Code = 2
	RowsRejected Code = 3
	NotFound     Code = 4
	Exists       Code = 5
	NoDatabase   Code = 6
	NoTemporal   Code = 7
	NotCompleted Code = 8
	NobodySent   Code = 9
	SomeNotSent  Code = 10
	Interrupted  Code = 130
)

// Codes explains each code, in the order of `starter help exit-codes`.
var Codes = []struct {
	Code    Code
	Meaning string
}{
	{Done, "done"},
	{Unexpected, "something unexpected"},
	{
		BadInput,
		"bad usage or bad input: flags, environment, mailing file, template, list file; or a mailing\n" +
			"with an error that the check found",
	},
	{RowsRejected, "done, but rows of a file were rejected"},
	{
		NotFound,
		"not found: no such mailing, list or recipient, or nothing to pause, resume, cancel,\nclose, resolve or continue",
	},
	{Exists, "exists already: a mailing's ID is used once and never again"},
	{NoDatabase, "the database cannot be reached, or is not migrated"},
	{NoTemporal, "Temporal cannot be reached, or no worker answers"},
	{
		NotCompleted,
		"the mailing ended other than completed (cancelled, failed, expired, terminated), or its\n" +
			"ledger is open; or a check failed",
	},
	{NobodySent, "the mailing completed, and nobody was sent to: no recipient was left, or nobody's message\nwent out"},
	{
		SomeNotSent,
		"the mailing completed, and some recipients were not sent to: they are bounced, failed or\n" +
			"uncertain. Opted-out recipients do not count",
	},
	{Interrupted, "interrupted"},
}

// Error is an error that ends the program with a code.
type Error struct {
	Code Code
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error with a code and a text, as fmt.Errorf makes it.
func Errorf(code Code, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// With gives err a code, or returns nil if err is nil.
func With(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &Error{code, err}
}

// Usagef is Errorf with [BadInput].
func Usagef(format string, args ...any) error { return Errorf(BadInput, format, args...) }
