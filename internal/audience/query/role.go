package query

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ofMailer tells whether the database is a mailer's own, or a replica of one.
const ofMailer = `SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'seal_key' AND relkind = 'r')`

// refuseMailer returns a Fault if the source is the database of a mailer, which its operator has
// not allowed. Otherwise everybody who may start a mailing could mail out all lists and mailings.
func (r *Rows) refuseMailer(ctx context.Context, allowed bool) error {
	if allowed {
		return nil
	}
	answer, err := r.conn.Exec(ctx, ofMailer).ReadAll()
	if err != nil {
		return r.explain(err)
	}
	if text(answer, 0, 0) == "t" {
		return r.fault("is on a database of Direct Mailer, with everybody's lists: name another database in " +
			"DM_SOURCES, or allow it there with ?mailer_database=allowed")
	}
	return nil
}

// rolePowers asks what the session's role may do besides reading tables: a superuser; files;
// programs; tables that it may change.
const rolePowers = `SELECT
	(SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
	pg_has_role(current_user, 'pg_read_server_files', 'USAGE')
		OR pg_has_role(current_user, 'pg_write_server_files', 'USAGE'),
	pg_has_role(current_user, 'pg_execute_server_program', 'USAGE'),
	(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
			AND n.nspname NOT LIKE 'pg\_%' AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))`

// Powers returns what the role of a source may do besides reading, in words: "may change 3 tables".
// Authors of mailings write the queries, and a read-only transaction does not stop a function that
// reads a file. A good role has none. Errors are those of [Set.Describe].
func (s *Set) Powers(ctx context.Context, name string, timeout time.Duration) ([]string, error) {
	r := &Rows{source: name, sql: `SELECT ''::text AS email`, timeout: timeout}
	defer r.Close()
	ctx, err := r.prepare(ctx, s.configs[name])
	if err != nil {
		return nil, err
	}
	answer, err := r.conn.Exec(ctx, rolePowers).ReadAll()
	if err != nil {
		return nil, r.explain(err)
	}
	var powers []string
	add := func(column int, power string) {
		if text(answer, 0, column) == "t" {
			powers = append(powers, power)
		}
	}
	add(0, "is a superuser")
	if len(powers) == 0 { // who may do all of it
		add(1, "may use files of the server")
		add(2, "may run programs on the server")
	}
	if n := text(answer, 0, 3); n != "0" && n != "" {
		powers = append(powers, fmt.Sprintf("may change %s of its tables", n))
	}
	return powers, nil
}

// Advice says what to do about the powers of a source's role.
func Advice(source string, powers []string) string {
	return fmt.Sprintf("the role of the source %s %s: authors of mailings write its queries: "+
		"use a role that may only read the tables that mailings need", source, strings.Join(powers, ", and "))
}

func text(results []*pgconn.Result, row, column int) string {
	if len(results) == 0 || row >= len(results[0].Rows) {
		return ""
	}
	return string(results[0].Rows[row][column])
}
