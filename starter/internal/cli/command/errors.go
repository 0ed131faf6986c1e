package command

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"directmailer/internal/audience/lists"
	"directmailer/internal/database"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
)

// TemporalFailure gives an error of a call to Temporal its exit code. doing is what was tried:
// "cancel the mailing".
func TemporalFailure(doing string, err error) error {
	var known *exit.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	return exit.Errorf(exit.NoTemporal, "%s: %w", doing, temporalclient.Explain(err))
}

// CodeOf decides by the type of an error alone.
func CodeOf(err error) exit.Code {
	var known *exit.Error
	var forgotten *status.ForgottenError
	var unasked *status.UnaskedError
	var settings *temporalclient.SettingsError
	switch {
	case err == nil:
		return exit.Done
	case errors.As(err, &known):
		return known.Code
	case errors.As(err, &forgotten):
		return exit.NotCompleted
	case errors.As(err, &settings):
		return exit.BadInput
	case errors.As(err, &unasked):
		return exit.NoTemporal
	case errors.Is(err, lists.ErrNotFound), errors.Is(err, mailings.ErrNotFound), errors.Is(err, status.ErrNotFound):
		return exit.NotFound
	case errors.Is(err, lists.ErrExists), errors.Is(err, mailings.ErrExists):
		return exit.Exists
	case errors.Is(err, lists.ErrEmpty):
		return exit.BadInput
	case errors.Is(err, database.ErrNotMigrated), database.Unavailable(err):
		return exit.NoDatabase
	}
	return exit.Unexpected
}

// TextOf is one line for people. It replaces PostgreSQL's own words, which can quote addresses and
// name the user.
func TextOf(err error) string {
	text := err.Error()
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		text = strings.ReplaceAll(text, pgErr.Error(), database.Reason(pgErr))
	}
	return output.OneLine(text)
}

// FileFailure gives an error about a file that the user named its exit code, and says the file's
// name as the user gave it.
func FileFailure(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return exit.Usagef("%s: %w", output.Typed(path.Path), path.Err)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return exit.Usagef("%s: %w", output.Typed(link.New), link.Err)
	}
	return err
}

// FirstError returns err, or the error of last, which it calls in any case.
func FirstError(err error, last func() error) error {
	if lastErr := last(); err == nil {
		return lastErr
	}
	return err
}

// NotFound says that there is no mailing of that ID, where err is that.
func NotFound(err error, id string) error {
	if CodeOf(err) == exit.NotFound {
		return NoMailing(id)
	}
	return err
}

// NoMailing is the error for an ID that no mailing has.
func NoMailing(id string) error {
	return exit.Errorf(exit.NotFound, "no mailing is named %s: see `starter ls`", output.Typed(id))
}

// ReadReason is why a file cannot be read, without its name.
func ReadReason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
