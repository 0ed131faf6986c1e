package database

import (
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// advice says, for an SQLSTATE (the PostgreSQL manual's appendix A), what is wrong and what to
// change.
type advice struct {
	code string // all five characters, or the two of a class
	// message is a part of the text of poolers, which use one code for everything. It is empty for
	// the rows of PostgreSQL.
	message string
	text    string
}

const (
	grant      = ": grant the role of DATABASE_URL what docs/operation.md lists under \"A role with few rights\""
	noPrepared = "a pooler gives statements to other sessions than it prepares them in: remove default_query_exec_mode " +
		"from DATABASE_URL, or set it to exec"
	notMigrated = "the schema is missing or older than this program: run `starter migrate`, and look whether the " +
		"search_path of the role leads to the schema"
	readOnly = "the database accepts no writes: it is a standby, or default_transaction_read_only is on. Let " +
		"DATABASE_URL lead to the primary, or name all hosts and add target_session_attrs=read-write"
	noMemory = "the server has no memory left: lower its work_mem, shared_buffers or max_connections, or give it more " +
		"memory"
	encoding = "the database's encoding cannot hold a character: create the database with ENCODING 'UTF8'"
	damaged  = "the server has found damaged data: look at its log and disk, and restore a backup, or REINDEX"
)

// adviceTable is the one table of what is said about PostgreSQL's errors. The first row that fits
// counts, so poolers' rows and single codes come before classes. No text has a value of a
// statement.
var adviceTable = []advice{
	{"08P01", "unsupported startup parameter", "a pooler refuses a parameter of DATABASE_URL: remove the parameter, or " +
		"add it to ignore_startup_parameters of PgBouncer"},
	{"08P01", "query_wait_timeout", "the pooler had no session for a statement in time: raise default_pool_size of " +
		"PgBouncer, or start fewer workers"},
	{"08P01", "no more connections allowed", "the pooler takes no more connections: raise max_client_conn of PgBouncer, " +
		"or start fewer workers"},
	{"08P01", "no such database", "the pooler knows no such database: correct DATABASE_URL, or add the database to the " +
		"section [databases] of PgBouncer"},
	{"08P01", "no such user", "the pooler knows no such user: correct DATABASE_URL, or add the user to auth_file of " +
		"PgBouncer"},
	{"08P01", "authentication failed", "the pooler refuses the user or the password: correct DATABASE_URL, or auth_file " +
		"of PgBouncer"},
	{"08P01", "login", "the pooler cannot log in to PostgreSQL: look at the log of the pooler"},
	{"08P01", "", "a pooler or a proxy in front of PostgreSQL does not accept what this program sends: look at its log. " +
		"PgBouncer 1.18 and newer works in session and transaction mode"},
	{"08", "", "the connection was lost: look whether the server runs, and at its log"},
	{"0A000", "", "the server does not support a statement, or the schema has changed while this program ran: start it " +
		"again"},
	{"22021", "", encoding},
	{"22P05", "", encoding},
	{"22P02", "", "PostgreSQL does not take a value in the form in which it was sent: remove default_query_exec_mode " +
		"from DATABASE_URL"},
	{"23", "", "a constraint refuses a row: run `starter migrate`, with the version of the workers"},
	{"25006", "", readOnly},
	{"25P03", "", "the server ended a transaction that was idle: raise idle_in_transaction_session_timeout of the role"},
	{"25P04", "", "the server ended a transaction that took long: raise transaction_timeout of the role, or set it to 0"},
	{"25", "", "the transaction was in another state than this program expects: look whether a pooler gives the " +
		"statements of a transaction to several sessions (pool_mode=statement of PgBouncer)"},
	{"26000", "", noPrepared},
	{"28P01", "", "the user or the password is refused: correct DATABASE_URL"},
	{"28", "", "the user is refused: look at DATABASE_URL, at pg_hba.conf of the server, and whether the role may log in"},
	{"3D000", "", "there is no such database: create it, or correct DATABASE_URL"},
	{"3F000", "", notMigrated},
	{"40001", "", "another transaction, or the recovery of a standby, was in the way: the work is tried again"},
	{"40P01", "", "transactions waited for each other: the work is tried again"},
	{"40", "", "the server has rolled the transaction back: the work is tried again"},
	{"42501", "", "the role may not do this" + grant},
	{"42P05", "", noPrepared},
	{"42P01", "", notMigrated},
	{"42703", "", notMigrated},
	{"42704", "", notMigrated},
	{"42883", "", notMigrated},
	{"53100", "", "the server's disk is full: free some space on it"},
	{"53200", "", noMemory},
	{"53300", "", "too many connections: raise max_connections of the server or the CONNECTION LIMIT of the role or the " +
		"database, or start fewer workers (`starter check` shows the limits)"},
	{"53400", "", "a limit of the server's configuration is reached: raise temp_file_limit of the role"},
	{"53", "", "the server lacks a resource: look at its log"},
	{"54000", "", "a value is too large for PostgreSQL: use a smaller batch_size"},
	{"55000", "", "the server does not allow this now: look whether the database allows connections " +
		"(ALLOW_CONNECTIONS), and whether the server is a standby"},
	{"55P03", "", "another session has held a lock for longer than lock_timeout: end that session, or raise " +
		"lock_timeout of the role"},
	{"55", "", "another session uses what a statement needs: the work is tried again"},
	{"57014", "", "a statement was cancelled, by statement_timeout or by somebody: raise statement_timeout of the role, " +
		"or set it to 0"},
	{"57P01", "", "the server is stopping, or an administrator has ended the session: the work is tried again"},
	{"57P02", "", "the server has crashed and recovers: look at its log"},
	{"57P03", "", "the server is starting, stopping or recovering: wait, or look at its log"},
	{"57P04", "", "the database was dropped: correct DATABASE_URL"},
	{"57P05", "", "the server ended an idle session: raise idle_session_timeout of the role"},
	{"57", "", "an administrator has stopped the statement: the work is tried again"},
	{"58030", "", "the server cannot read or write its files: look at its disk and its log"},
	{"58", "", "the server has a fault in its system: look at its disk and its log"},
	{"P0001", "", "a trigger or a function of the database refuses the statement: look at what was added to the schema"},
	{"XX001", "", damaged},
	{"XX002", "", damaged},
	{"XX", "", "the server has an internal error: look at its log"},
}

// parameter matches the name of a startup parameter, at the end of a pooler's message.
var parameter = regexp.MustCompile(`unsupported startup parameter(?: in options)?: ([a-z_.]{1,63})$`)

// words says what an error of PostgreSQL or of a pooler means and what to change, without a word of
// the server: its message can quote values, and name the user.
func words(err *pgconn.PgError) string {
	text := "PostgreSQL error " + err.Code
	if m := parameter.FindStringSubmatch(err.Message); m != nil {
		text += " (" + m[1] + ")"
	}
	for _, a := range adviceTable {
		if strings.HasPrefix(err.Code, a.code) && strings.Contains(err.Message, a.message) {
			return text + ": " + a.text
		}
	}
	return text
}
