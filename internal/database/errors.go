package database

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"directmailer/internal/neterr"
)

// Transient tells whether an SQLSTATE (the PostgreSQL manual's appendix A) is about a state of the
// server that can pass, so that the same statement can succeed later.
func Transient(code string) bool {
	switch code[:min(2, len(code))] {
	case "08", // connection exception
		"25", // invalid transaction state: read-only standby, a timeout of the transaction
		"28", // password or role: an operator may be changing them
		"40", // serialization failure, deadlock
		"53", // disk full, out of memory, too many connections
		"55", // lock not available
		"57", // shutdown, crash, cancel
		"58", // I/O error
		"XX": // internal error
		return true
	}
	return false
}

// Unavailable tells whether err says that the database cannot be reached or has a transient
// failure, so that the same call can succeed later. An error that did not come from the server is a
// lost connection.
func Unavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if errors.Is(err, errPooler) {
		return true
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return Transient(pgErr.Code)
	}
	var connectErr *pgconn.ConnectError
	var netErr net.Error
	if errors.As(err, &connectErr) || errors.As(err, &netErr) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pgconn.ErrConnClosed) {
		return true
	}
	for _, text := range []string{"conn closed", "unexpected EOF", "closed pool"} { // errors that have no type
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// Duplicate tells whether a unique index has refused a row.
func Duplicate(err error) bool { return isCode(err, "23505") }

// LockTimeout tells whether a statement has waited for a lock for longer than its lock_timeout.
func LockTimeout(err error) bool { return isCode(err, "55P03") }

// Reason is a text for err that names no value of a row: PostgreSQL's own message can quote
// addresses.
func Reason(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return words(pgErr)
	}
	if noPrimary(err) {
		return textNoPrimary
	}
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		return "cannot connect to PostgreSQL"
	}
	if Unavailable(err) {
		return "the connection to PostgreSQL was lost"
	}
	return "the database did not do what was asked"
}

// Redact is the text of err, or [Reason] if it is PostgreSQL's own, which can quote values.
func Redact(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return Reason(err)
	}
	return err.Error()
}

func isCode(err error, code string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == code
}

// Refusal is why a connection to another database than that of DATABASE_URL was not made, without
// user and password.
func Refusal(err error) string {
	return strings.ReplaceAll(redact(err).Error(), "DATABASE_URL", "its URL in DM_SOURCES")
}

// redact removes the words of pgx and of the server from a connect error, because they name the
// user.
func redact(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return &refusal{pgErr}
	}
	if noPrimary(err) {
		return &unfit{err}
	}
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		if cause := connectErr.Unwrap(); cause != nil {
			return &unreachable{cause}
		}
	}
	return err
}

// unreachable is a connection that no server has answered.
type unreachable struct{ err error }

func (u *unreachable) Unwrap() error { return u.err }
func (u *unreachable) Error() string { return neterr.Reason(u.err) }

// noPrimary reports whether hosts of the URL have answered, and none of them is of the kind that
// the URL wants: after the loss of a primary, until a standby is promoted.
func noPrimary(err error) bool {
	for _, unfit := range []error{
		pgconn.ErrReadOnlyConnection, pgconn.ErrReadWriteConnection, pgconn.ErrPrimaryConnection,
		pgconn.ErrStandbyConnection,
	} {
		if errors.Is(err, unfit) {
			return true
		}
	}
	return false
}

const textNoPrimary = "no host of DATABASE_URL accepts writes now: promote a standby, or look at " +
	"target_session_attrs of DATABASE_URL"

// unfit is a connection to hosts of the wrong kind.
type unfit struct{ err error }

func (u *unfit) Unwrap() error { return u.err }
func (u *unfit) Error() string { return textNoPrimary }

// refusal is a server's answer to a connection, worded without a part of that answer.
type refusal struct{ err *pgconn.PgError }

func (r *refusal) Unwrap() error { return r.err }
func (r *refusal) Error() string { return words(r.err) }
