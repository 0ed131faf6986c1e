// Package query runs an audience's query on a source database: PostgreSQL, over the extended
// protocol. Numbers, booleans, NULL, arrays and documents keep their types (package field). Every
// other value is the text that PostgreSQL prints.
//
// A query is one statement in a read-only transaction. The server ends it when it takes too long
// (statement_timeout). An error is an [*Unavailable], which may pass, or a [*Fault], which stays
// until somebody changes the query or its database. Neither shows a credential or a value of a row.
// PostgreSQL's message is shown only if it is about the statement.
package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"directmailer/internal/audience/field"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/statuscolumn"
	"directmailer/internal/database"
)

const (
	// slack is the time that we wait beyond the query's timeout for the server to end the query. A
	// server that hangs does not end it.
	slack = 15 * time.Second
	// maxRow is the length limit of one protocol message of the source, in octets.
	maxRow = 8 << 20
	// maxRejects is how many rejected rows are kept with their reasons.
	maxRejects = 20
)

// Set is a worker's source databases by name. It keeps no connection: each query opens its own. It
// is safe for concurrent use.
type Set struct {
	configs map[string]Config
	names   []string
}

// NewSet returns the sources of the configurations.
func NewSet(configs []Config) *Set {
	s := &Set{configs: map[string]Config{}}
	for _, c := range configs {
		s.configs[c.Name] = c
		s.names = append(s.names, c.Name)
	}
	slices.Sort(s.names)
	return s
}

// Names returns the sources' names, sorted.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Has reports whether there is a source of that name.
func (s *Set) Has(name string) bool { return s.configs[name].config != nil }

// Describe prepares the query without running it, and returns its columns as [Rows.Columns] does.
// The error is an [*Unavailable], a [*Fault], or that of ctx.
func (s *Set) Describe(ctx context.Context, name, sql string, timeout time.Duration) ([]string, error) {
	r := &Rows{source: name, sql: sql, timeout: timeout}
	defer r.Close()
	ctx, err := r.prepare(ctx, s.configs[name])
	if err != nil {
		return nil, err
	}
	// PostgreSQL prepares a statement that writes like any other. But only a statement that reads
	// can be declared as a cursor.
	_, err = r.conn.Prepare(ctx, "", "DECLARE c CURSOR FOR "+sql, nil)
	var fault *Fault
	if err != nil && errors.As(r.explain(err), &fault) {
		return nil, r.fault("it writes, or is no SELECT: it must be one SELECT that only reads")
	}
	if err != nil {
		return nil, r.explain(err)
	}
	return r.Columns(), nil
}

// Query runs the query and returns when its first row has arrived. From then on reading is fast, so
// a transaction that reads the rows does not wait for the source to compute. timeout bounds the
// whole query, until the last row. Errors are those of [Set.Describe]. The caller must close the
// Rows.
func (s *Set) Query(ctx context.Context, name, sql string, timeout time.Duration) (*Rows, error) {
	r := &Rows{source: name, sql: sql, timeout: timeout}
	if err := r.open(ctx, s.configs[name]); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Rows are the rows of a query, as members of an audience.
type Rows struct {
	source   string
	sql      string
	timeout  time.Duration
	parent   context.Context
	began    time.Time
	cancel   context.CancelFunc
	conn     *pgconn.PgConn
	result   *pgconn.ResultReader
	header   member.Header
	status   []*statuscolumn.Column
	pending  bool // the row that result is at has not been handed out
	number   int64
	rejected int64
	pasted   int64
	rejects  []member.Reject
	readers  []reader // of the columns; nil for texts
	fields   []string
	kinds    []field.Kind
	buf      []byte
	err      error // what ended the reading
}

// prepare connects, begins the transaction and prepares the statement. It returns the context that
// bounds the rest of the query.
func (r *Rows) prepare(parent context.Context, c Config) (ctx context.Context, err error) {
	if c.config == nil {
		return nil, &Unavailable{r.source, "this worker has no source of that name in its DM_SOURCES"}
	}
	r.parent = parent
	ctx, r.cancel = context.WithTimeout(parent, r.timeout+slack)
	if r.conn, err = pgconn.ConnectConfig(ctx, c.config); err != nil {
		if parent.Err() != nil {
			return nil, parent.Err()
		}
		return nil, &Unavailable{r.source, database.Refusal(err)}
	}
	r.began = time.Now()
	begin := fmt.Sprintf(
		`BEGIN TRANSACTION READ ONLY; `+session+`; SET LOCAL statement_timeout = %d`, r.timeout.Milliseconds(),
	)
	if _, err := r.conn.Exec(ctx, begin).ReadAll(); err != nil {
		return nil, r.explain(err)
	}
	if err := r.refuseMailer(ctx, c.mailer); err != nil {
		return nil, err
	}
	statement, err := r.conn.Prepare(ctx, "", r.sql, nil) // refuses more than one statement
	if err != nil {
		return nil, r.explain(err)
	}
	if len(statement.ParamOIDs) > 0 {
		return nil, r.fault("has parameters ($1): there is nothing to put in their place")
	}
	if len(statement.Fields) == 0 {
		return nil, r.fault("answers no rows: it must be one SELECT")
	}
	names := make([]string, len(statement.Fields))
	for i, f := range statement.Fields {
		if names[i] = f.Name; strings.Contains(f.Name, "@") { // may be an address
			return nil, r.fault("has an @ in the name of column %d: give it another with AS", i+1)
		}
		r.readers = append(r.readers, readerOf(f.DataTypeOID))
	}
	if r.header, err = member.ReadHeader(names); err != nil {
		return nil, r.fault("%v", err)
	}
	for _, c := range r.header.Mapping() {
		if c.Same > 0 { // nobody reads which of them got a number
			return nil, r.fault("columns %d and %d are both named %s: give one another name with AS",
				c.Same, c.Number, member.FieldName(c.Header))
		}
	}
	r.fields, r.kinds = make([]string, len(names)), make([]field.Kind, len(names))
	r.status = statusColumns(r.header.Mapping())
	return ctx, nil
}

// open runs the query and waits for its first row, or its end.
func (r *Rows) open(parent context.Context, c Config) error {
	ctx, err := r.prepare(parent, c)
	if err != nil {
		return err
	}
	r.result = r.conn.ExecPrepared(ctx, "", nil, nil, nil) // no formats: all as text
	if r.pending = r.result.NextRow(); r.pending {
		return nil
	}
	if r.err = r.finish(); r.err != io.EOF {
		return r.err
	}
	return nil
}

// Columns returns the names of the attributes, as templates know them, in the order of the query.
func (r *Rows) Columns() []string { return r.header.Columns() }

// Next returns the next row with a usable address, io.EOF after the last, an [*Unavailable] or a
// [*Fault]. The member's attributes are valid until the next call.
func (r *Rows) Next() (member.Member, error) {
	for r.err == nil {
		if !r.pending && !r.result.NextRow() {
			r.err = r.finish()
			break
		}
		r.pending = false
		r.number++
		m, reason := r.member(r.result.Values())
		if reason == "" {
			if m.Taken != "" {
				r.pasted++
			}
			return m, nil
		}
		if r.rejected++; len(r.rejects) < maxRejects {
			r.rejects = append(r.rejects, member.Reject{Position: r.number, Reason: reason})
		}
	}
	return member.Member{}, r.err
}

// member makes a member of a row, or returns the reason why it cannot.
func (r *Rows) member(values [][]byte) (m member.Member, reason string) {
	for i, v := range values {
		if !utf8.Valid(v) { // a source in SQL_ASCII
			return m, fmt.Sprintf("column %d is not UTF-8", i+1)
		}
		value := field.Value{Text: string(v)}
		switch {
		case v == nil:
			value.Kind = field.Null
		case r.readers[i] != nil:
			value = r.readers[i](value.Text)
		}
		r.fields[i], r.kinds[i] = value.Text, value.Kind
		r.status[i].Add(value.Text)
	}
	m, reason = r.header.TypedMember(r.number, r.buf[:0], r.fields, r.kinds)
	r.buf = m.Attributes
	return m, reason
}

// finish closes the result and returns how it ended: io.EOF or an error.
func (r *Rows) finish() error {
	_, err := r.result.Close()
	r.result = nil
	if err != nil {
		return r.explain(err)
	}
	if err := r.checkStatus(); err != nil {
		return err
	}
	return io.EOF
}

// Rejected returns the number of rows so far that have no usable address, or whose other columns
// are too long.
func (r *Rows) Rejected() int64 { return r.rejected }

// Pasted returns the number of rows so far that lost marks around their address.
func (r *Rows) Pasted() int64 { return r.pasted }

// Rejects returns the first 20 rejected rows.
func (r *Rows) Rejects() []member.Reject { return r.rejects }

// Close ends the connection and a query that still runs.
func (r *Rows) Close() {
	if r.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if r.result != nil && r.parent.Err() == nil {
			_ = r.conn.CancelRequest(ctx)
		}
		_ = r.conn.Close(ctx)
	}
	if r.cancel != nil {
		r.cancel()
	}
}
