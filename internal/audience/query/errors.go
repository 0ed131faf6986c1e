package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"directmailer/internal/database"
	"directmailer/internal/foreign"
)

// Unavailable says that a source cannot be reached, or has a problem of its own. The same query may
// succeed later.
type Unavailable struct {
	Source string
	Cause  string
}

func (u *Unavailable) Error() string { return "the source " + u.Source + " is unavailable: " + u.Cause }

// Fault says that the query cannot succeed as it is. Text says why.
type Fault struct {
	Source string
	Text   string
}

func (f *Fault) Error() string { return "the query on " + f.Source + ": " + f.Text }

func (r *Rows) fault(format string, args ...any) error {
	return &Fault{r.source, fmt.Sprintf(format, args...)}
}

// explain turns an error into an [*Unavailable] or a [*Fault]. It quotes no row.
func (r *Rows) explain(err error) error {
	if r.parent.Err() != nil {
		return r.parent.Err()
	}
	var pgErr *pgconn.PgError
	var long *pgproto3.ExceededMaxBodyLenErr
	late := time.Since(r.began) >= r.timeout
	switch {
	case errors.As(err, &long):
		return r.fault("answers a row of more than %d MiB", maxRow>>20)
	case !errors.As(err, &pgErr):
		if late && pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded) {
			return &Unavailable{r.source, fmt.Sprintf("it did not answer within the query's timeout of %v", r.timeout)}
		}
		return &Unavailable{r.source, "the connection was lost"}
	case pgErr.Code == "57014" && late:
		return &Unavailable{r.source, fmt.Sprintf("the query took longer than its timeout of %v", r.timeout)}
	case passes(pgErr.Code):
		return &Unavailable{r.source, "PostgreSQL error " + pgErr.Code + passing[pgErr.Code]}
	}
	return &Fault{r.source, place(r.sql, int(pgErr.Position)) + words(pgErr)}
}

// passing describes the commonest transient errors.
var passing = map[string]string{
	"40001": ": a conflict with other transactions, or with recovery on a standby",
	"53300": ": too many connections",
	"57014": ": somebody cancelled the query",
	"57P01": ": the server or an administrator ended the connection",
	"57P02": ": the server has crashed",
	"57P03": ": the server is starting or stopping",
}

// passes reports whether an SQLSTATE is transient: the same query may succeed later.
func passes(code string) bool {
	switch code {
	case "25001", "25006": // it tried to change the transaction, or to write
		return false
	}
	return database.Transient(code)
}

// words returns PostgreSQL's message if it is about the statement. Messages of other classes, and
// those from inside a function, can quote data such as addresses.
func words(e *pgconn.PgError) string {
	code := " (PostgreSQL error " + e.Code + ")"
	switch class := e.Code[:min(2, len(e.Code))]; {
	case e.Code == "25006": // PostgreSQL says "cannot execute SELECT" of one with an INSERT in it
		return "it writes, but may only read" + code
	case e.Where != "" || e.InternalQuery != "":
		return "a function that it calls fails" + code
	case class == "22", class == "23":
		return "the data, or a literal, is not what the query takes it for" + code +
			"; PostgreSQL's message is not shown because it can quote data"
	case class == "42", class == "0A", class == "25", class == "54", class == "3D", class == "3F":
		return foreign.Line(e.Message) + code
	}
	return "it cannot be answered" + code + "; PostgreSQL's message is not shown because it can quote data"
}

// place returns the line and column of a position in the SQL. PostgreSQL counts positions in
// characters from 1.
func place(sql string, position int) string {
	if position < 1 {
		return ""
	}
	line, column := 1, 1
	for _, c := range sql {
		if position--; position == 0 {
			break
		}
		if column++; c == '\n' {
			line, column = line+1, 1
		}
	}
	return fmt.Sprintf("line %d, column %d: ", line, column)
}
