package database_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"directmailer/internal/database"
)

// Each error says what to change, and repeats no word of the server.
func TestEachKnownErrorSaysWhatToChange(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"08P01": "PgBouncer", "08006": "whether the server runs", "0A000": "start it again", "22021": "UTF8",
		"22P02": "default_query_exec_mode", "22P05": "UTF8", "23514": "starter migrate", "25006": "target_session_attrs",
		"25P02": "pool_mode", "25P03": "idle_in_transaction_session_timeout", "25P04": "transaction_timeout",
		"26000": "default_query_exec_mode", "28000": "pg_hba.conf", "28P01": "DATABASE_URL", "3D000": "create it",
		"3F000": "starter migrate", "40001": "tried again", "40P01": "tried again",
		"42501": "grant", "42P01": "starter migrate",
		"42703": "starter migrate", "42704": "search_path", "42883": "starter migrate", "42P05": "default_query_exec_mode",
		"53100": "disk", "53200": "memory", "53300": "max_connections", "53400": "temp_file_limit", "54000": "batch_size",
		"55000": "ALLOW_CONNECTIONS", "55P03": "lock_timeout", "55006": "tried again", "57014": "statement_timeout",
		"57P01": "tried again", "57P02": "log", "57P03": "recovering", "57P04": "DATABASE_URL",
		"57P05": "idle_session_timeout",
		"58030": "disk", "58P01": "disk", "P0001": "trigger", "XX000": "log", "XX001": "backup", "XX002": "REINDEX",
	} {
		err := &pgconn.PgError{Code: code, Message: `the key (a)=(secret@example.com) of role "secret"`, Detail: "secret"}
		for _, text := range []string{
			database.Reason(fmt.Errorf("x: %w", err)), database.Redact(err), database.Refusal(err),
		} {
			if !strings.HasPrefix(text, "PostgreSQL error "+code+": ") || strings.Contains(text, "secret") {
				t.Errorf("%s: %s", code, text)
			}
		}
		if text := database.Reason(err); !strings.Contains(text, want) {
			t.Errorf("%s: %q is not in %s", code, want, text)
		}
	}
	if got := database.Reason(&pgconn.PgError{Code: "42601", Message: "secret"}); got != "PostgreSQL error 42601" {
		t.Errorf("an error of our own statements: %s", got)
	}
}

// Poolers have one code for everything.
func TestWhatAPoolerMeansIsReadFromItsMessage(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"unsupported startup parameter: search_path":     "(search_path): a pooler refuses a parameter of DATABASE_URL",
		"unsupported startup parameter in options: geqo": "(geqo): a pooler refuses",
		"query_wait_timeout":                             "default_pool_size",
		"no more connections allowed (max_client_conn)":  "max_client_conn",
		"no such database: secret":                       "[databases]",
		"no such user: secret":                           "auth_file",
		"password authentication failed":                 "auth_file",
		"server login has been failing (secret)":         "log in to PostgreSQL",
		"server conn crashed?":                           "look at its log",
	} {
		got := database.Reason(&pgconn.PgError{Severity: "FATAL", Code: "08P01", Message: message})
		if !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %s, want %s", message, got, want)
		}
	}
}
