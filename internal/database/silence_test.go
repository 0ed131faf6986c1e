package database_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"directmailer/internal/database"
)

// A session whose worker is gone keeps its locks until the server notices.
func TestTheServerNoticesAWorkerThatIsGoneWithinHalfAMinute(t *testing.T) {
	t.Parallel()
	url := empty(t)
	if !strings.HasPrefix(database.Place(url), "127.0.0.1:") && !strings.HasPrefix(database.Place(url), "localhost:") {
		t.Skip("the tests' PostgreSQL is not reached over TCP")
	}
	for parameters, want := range map[string]string{"": "30000", "tcp_user_timeout=7000": "7000"} {
		pool := open(t, withParameters(url, parameters))
		for name, want := range map[string]string{"tcp_user_timeout": want, "tcp_keepalives_idle": "15",
			"tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"} {
			var got string
			// What the kernel has, not what was asked for.
			if err := pool.QueryRow(t.Context(), "SHOW "+name).Scan(&got); err != nil || got != want {
				t.Errorf("%q: %s is %q, want %q (%v)", parameters, name, got, want, err)
			}
		}
	}
}

// startServer is a PostgreSQL that answers each statement as the test says; nil ends the
// connection.
func startServer(t *testing.T, answer func(sql string) pgproto3.BackendMessage) (url string,
	started *atomic.Pointer[pgproto3.StartupMessage]) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	started = &atomic.Pointer[pgproto3.StartupMessage]{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn, answer, started)
		}
	}()
	return fmt.Sprintf("postgres://mailer@%s/mail?sslmode=disable", l.Addr()), started
}

func serve(
	conn net.Conn,
	answer func(sql string) pgproto3.BackendMessage,
	started *atomic.Pointer[pgproto3.StartupMessage],
) {
	defer conn.Close()
	b := pgproto3.NewBackend(conn, conn)
	start, err := b.ReceiveStartupMessage()
	if err != nil {
		return
	}
	if m, ok := start.(*pgproto3.StartupMessage); ok {
		started.Store(m)
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: make([]byte, 4)})
	for {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		m, err := b.Receive()
		if err != nil {
			return
		}
		q, ok := m.(*pgproto3.Query)
		if !ok {
			return
		}
		if strings.Contains(q.String, "pg_backend_pid") {
			b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("pg_backend_pid")}}})
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("7")}})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
			continue
		}
		reply := answer(q.String)
		if reply == nil {
			return
		}
		b.Send(reply)
	}
}

// Other systems than Linux, and poolers, may not know the setting.
func TestAServerThatDoesNotKnowTheLimitIsUsedAllTheSame(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	url, started := startServer(t, func(sql string) pgproto3.BackendMessage {
		if strings.Contains(sql, "tcp_user_timeout") {
			asked.Add(1)
			return &pgproto3.ErrorResponse{
				Severity: "ERROR",
				Code:     "42704",
				Message:  "unrecognized configuration parameter",
			}
		}
		return &pgproto3.EmptyQueryResponse{}
	})
	pool := open(t, url)
	if err := pool.Ping(t.Context()); err != nil || asked.Load() == 0 {
		t.Errorf("asked %d times, then %v", asked.Load(), err)
	}
	if _, there := started.Load().Parameters["tcp_user_timeout"]; there {
		t.Error("the limit is a parameter of the start: a server that does not know it ends the connection")
	}
}

func TestASessionThatBreaksAtItsStartIsUnavailable(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]pgproto3.BackendMessage{
		"cut":      nil,
		"shutdown": &pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01", Message: "terminating connection"},
	} {
		url, _ := startServer(t, func(sql string) pgproto3.BackendMessage {
			if strings.Contains(sql, "tcp_user_timeout") {
				return end
			}
			return &pgproto3.EmptyQueryResponse{}
		})
		_, err := database.Open(t.Context(), url, 1)
		if err == nil || !database.Unavailable(err) {
			t.Errorf("%s: got %v", name, err)
		}
		if end != nil &&
			!strings.Contains(
				err.Error(),
				"57P01",
			) { // the server's answer, and not that of a use of the broken session
			t.Errorf("%s: got %v", name, err)
		}
	}
}
