package unsubscribe

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/token/tokentest"
	"directmailer/internal/feedback/tokenkey"
	"directmailer/internal/mailings"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// fixture is a public listener on a database with the mailings spring (about a topic), autumn (to
// a list) and winter (to a query), three recipients each.
type fixture struct {
	*testing.T
	pool   *pgxpool.Pool
	server *Server
	keys   token.Keys
	watch  *tokenkey.Watch
	base   string
	client *http.Client
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 8)
	f := &fixture{T: t, pool: pool, keys: tokentest.Keys(t, "k"), client: &http.Client{}}
	f.mailing("spring", "people", `{"topic": "offers", "list": "people"}`)
	f.mailing("autumn", "people", `{"list": "people"}`)
	f.mailing("winter", "query:crm", `{"query": {"source": "crm"}}`)
	f.start(Options{})
	return f
}

// start starts a server in the place of the one before.
func (f *fixture) start(o Options) {
	f.Helper()
	if f.server != nil {
		f.server.Close(f.Context())
	}
	o.Address, o.Settings = "127.0.0.1:0", feedback.Settings{Keys: f.keys, PublicURL: "https://mail.example.com"}
	f.watch = tokenkey.NewWatch(f.pool, f.keys, slog.New(slog.DiscardHandler))
	var err error
	if f.server, err = Listen(o, f.watch, f.pool, slog.New(slog.NewTextHandler(io.Discard, nil))); err != nil {
		f.Fatal(err)
	}
	server := f.server
	f.Cleanup(func() {
		f.client.CloseIdleConnections()
		_ = server.http.Close()
		server.group.close()
	})
	f.base = "http://" + f.server.Addr()
}

// mailing stores a mailing with three recipients: NAME-1@example.org and so on.
func (f *fixture) mailing(id, audience, input string) {
	f.Helper()
	store := mailings.New(f.pool)
	err := store.Reserve(f.Context(), id, "run", audience, json.RawMessage(input), feedback.Marks{}, "default")
	if err != nil {
		f.Fatal(err)
	}
	f.exec(`INSERT INTO recipients (mailing, number, address, address_key, attributes)
		SELECT key, n, id || '-' || n || '@example.org', id || '-' || n || '@example.org', '{}'
		FROM mailings, generate_series(1, 3) n WHERE id = $1`, id)
}

func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
}

// token returns the token of a recipient of a mailing.
func (f *fixture) token(mailing string, number int) string {
	f.Helper()
	m, err := mailings.New(f.pool).Get(f.Context(), mailing)
	if err != nil {
		f.Fatal(err)
	}
	return f.keys.ForURL(token.Unsubscribe, token.Recipient{Mailing: m.Key, Number: number})
}

// answer is what the server has answered.
type answer struct {
	status int
	header http.Header
	body   string
}

func (f *fixture) do(method, path, contentType, body string, header ...string) answer {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.base+path, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := f.client.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

const urlencoded = "application/x-www-form-urlencoded"

// post sends a form as the page does: name, value, name, value.
func (f *fixture) post(token string, values ...string) answer {
	f.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(values); i += 2 {
		v.Set(values[i], values[i+1])
	}
	return f.do("POST", "/u/"+token, urlencoded, v.Encode())
}

// oneClick sends what a mail program sends.
func (f *fixture) oneClick(token string) answer {
	f.Helper()
	return f.do("POST", "/u/"+token, urlencoded, "List-Unsubscribe=One-Click")
}

// optOuts returns all requests: "address scope reason mailing".
func (f *fixture) optOuts() []string {
	f.Helper()
	rows, err := f.pool.Query(f.Context(),
		`SELECT address_key || ' ' || scope || ' ' || reason || ' ' || coalesce(mailing, '') FROM opt_outs`)
	if err != nil {
		f.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			f.Fatal(err)
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

func (f *fixture) wantOptOuts(want ...string) {
	f.Helper()
	slices.Sort(want)
	if got := f.optOuts(); !slices.Equal(got, want) {
		f.Errorf("the opt-outs are %q, want %q", got, want)
	}
}
