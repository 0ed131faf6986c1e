package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"directmailer/internal/audience/lists"
	"directmailer/internal/database"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
)

// Code is the exit code of the program. The codes are an interface: scripts decide by them.
type Code int

// The exit codes, as `starter --help` shows them.
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
	Interrupted  Code = 130
)

// codes explains each code, in the order of the help text.
var codes = []struct {
	code    Code
	meaning string
}{
	{Done, "done"},
	{Unexpected, "something unexpected"},
	{BadInput, "bad usage or bad input: flags, environment, mailing file, template, list file"},
	{RowsRejected, "done, but rows of a file were rejected"},
	{NotFound, "not found: no such mailing, list or recipient, or nothing there to pause, resume, cancel, close, resolve or continue"},
	{Exists, "exists already: a mailing's ID is used once and never again"},
	{NoDatabase, "the database is away or not migrated"},
	{NoTemporal, "Temporal is away, or no worker answers"},
	{NotCompleted, "the mailing ended other than completed (cancelled, failed, expired, terminated), or a check failed"},
	{Interrupted, "interrupted"},
}

// failure is an error with the exit code that it ends the program with.
type failure struct {
	code Code
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failf(code Code, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

// usage is a fault of the command line.
func usage(format string, args ...any) error { return failf(BadInput, format, args...) }

// temporalFailure gives an error of a call to Temporal its exit code.
func temporalFailure(doing string, err error) error {
	var known *failure
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	if temporalclient.Unreachable(err) {
		return failf(NoTemporal, "%s: Temporal does not answer", doing)
	}
	return failf(NoTemporal, "%s: %w", doing, err)
}

// codeOf decides by the type of an error alone.
func codeOf(err error) Code {
	var known *failure
	switch {
	case err == nil:
		return Done
	case errors.As(err, &known):
		return known.code
	case errors.Is(err, lists.ErrNotFound), errors.Is(err, mailings.ErrNotFound):
		return NotFound
	case errors.Is(err, lists.ErrExists), errors.Is(err, mailings.ErrExists):
		return Exists
	case errors.Is(err, lists.ErrEmpty):
		return BadInput
	case errors.Is(err, database.ErrNotMigrated), database.Unavailable(err):
		return NoDatabase
	}
	return Unexpected
}

// textOf is one line for people. PostgreSQL's own words are replaced: they can quote addresses, and name the user.
func textOf(err error) string {
	text := err.Error()
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		text = strings.ReplaceAll(text, pgErr.Error(), wordsFor(pgErr))
	}
	return oneLine(text)
}

func wordsFor(err *pgconn.PgError) string {
	switch {
	case strings.HasPrefix(err.Code, "28"):
		return "the server refuses the user or the password of DATABASE_URL (" + err.Code + ")"
	case err.Code == "3D000":
		return "the server has no database of that name (3D000)"
	case err.Code == "42501":
		return "the user of DATABASE_URL may not do that (42501)"
	}
	return database.Reason(err)
}

// oneLine joins the lines of a text and drops what could steer a terminal.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		// pgx says the same of each address of a host, and of each attempt
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return clean(strings.Join(lines, "; "))
}

// clean replaces control and invisible characters: what others have written must not steer a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, s)
}
