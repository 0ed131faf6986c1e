package activities

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jhillyerd/enmime/v2"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/query"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// valueTemplate asks all that an offer may depend on.
const valueTemplate = `{{if gt (default 0 .points) 100}}more{{else}}few{{end}} ` +
	`{{if .vip}}vip{{else}}all{{end}} ` +
	`{{if eq .plan "gold"}}gold{{else}}plain{{end}} ` +
	`{{if eq .vip true}}true{{else}}untrue{{end}} ` +
	`{{date "2 January 2006" .born}} ` +
	`{{if lt (default "9999-12-31" .born) "2000-01-01"}}old{{else}}young{{end}} ` +
	`{{default "nothing" .price}} {{number "de" 2 (default 0 .price)}} ` +
	`{{default "nobody" .first_name}}`

// received prepares and renders a mailing, and returns what its recipients read, by number: the
// subject, the text and the HTML, which must say the same.
func received(t *testing.T, pool *pgxpool.Pool, a *Activities, in workflows.Input) map[int32]string {
	t.Helper()
	in.ID, in.From, in.Subject, in.Content.Text = "spring", "News <news@example.com>", valueTemplate, valueTemplate
	in.Content.HTML, in.Unsubscribe = "<p>"+valueTemplate+"</p>", workflows.UnsubscribeNone
	in = in.WithDefaults()
	stored, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	err = a.mailings.Reserve(t.Context(), in.ID, "run", in.Audience(), stored, feedback.Marks{}, "default")
	if err != nil {
		t.Fatal(err)
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.RegisterActivityWithOptions(a.PrepareList, activity.RegisterOptions{Name: policy.PrepareList})
	if _, err := env.ExecuteActivity(policy.PrepareList, workflows.PrepareCall{Mailing: in.ID}); err != nil {
		t.Fatal(err)
	}
	if out, err := renderOnce(t, a); err != nil || out.Failed > 0 {
		t.Fatal(out, err)
	}
	texts := map[int32]string{}
	for number, message := range messages(t, spooled(t, pool)) {
		m, err := enmime.ReadEnvelope(strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		texts[number] = m.GetHeader("Subject")
		text := strings.TrimSpace(m.Text)
		html := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(m.HTML), "<p>"), "</p>")
		if text != texts[number] || html != texts[number] {
			t.Errorf("the subject says %q, the text %q, the HTML %q", texts[number], text, html)
		}
	}
	return texts
}

func wantReceived(t *testing.T, got map[int32]string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
	for i, text := range want {
		if got[int32(i+1)] != text {
			t.Errorf("recipient %d reads\n%q, want\n%q", i+1, got[int32(i+1)], text)
		}
	}
}

func TestAQuerysValuesReachTheMessageWithTheirTypes(t *testing.T) {
	t.Parallel()
	at := servertest.EmptyDatabase(t)
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `
		CREATE TABLE people (id int, email text, first_name char(10), plan char(10), points int, vip bool, born date,
		price numeric(30,2));
		INSERT INTO people VALUES
			(1, 'ann@example.org', 'Ann', 'gold', 484, true, '1970-01-31', 1234567890123456.50),
			(2, 'bob@example.org', '', 'free', 20, false, '2001-02-03', 0.10),
			(3, 'cyd@example.org', NULL, NULL, NULL, NULL, NULL, NULL)`); err != nil {
		t.Fatal(err)
	}
	source, err := query.Parse("crm", at)
	if err != nil {
		t.Fatal(err)
	}
	pool, a := valueActivities(t, query.NewSet([]query.Config{source}))
	in := workflows.Input{Query: &workflows.Query{Source: "crm",
		SQL: "SELECT email, first_name, plan, points, vip, born, price FROM people ORDER BY id"}}
	wantReceived(t, received(t, pool, a, in),
		"more vip gold true 31 January 1970 old 1234567890123456.50 1.234.567.890.123.456,50 Ann",
		"few all plain untrue 3 February 2001 young 0.10 0,10 nobody",
		"few all plain untrue  young nothing 0,00 nobody")
}

func TestAFilesValuesAreTrimmedAndCountAsTheirAuthorMeans(t *testing.T) {
	t.Parallel()
	pool, a := valueActivities(t, nil)
	rows, err := csvlist.NewReader(strings.NewReader("email;first_name;plan;points;vip;born;price\n"+
		"ann@example.org; Ann\u00a0;gold      ;\" 484\";TRUE;1970-01-31 ;1234.50\n"+
		"bob@example.org;\u200b ;free;20\u200b;FALSE;\u00a02001-02-03;0.10\ufeff\n"+
		"cyd@example.org;\u3000;\u00a0gold\u2007;;no;;\n"), "people.csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lists.New(pool).Import(t.Context(), "people", "people.csv", rows.Columns(), rows, true); err != nil {
		t.Fatal(err)
	}
	wantReceived(t, received(t, pool, a, workflows.Input{List: "people"}),
		"more vip gold true 31 January 1970 old 1234.50 1.234,50 Ann",
		"few all plain untrue 3 February 2001 young 0.10 0,10 nobody",
		"few all gold untrue  young nothing 0,00 nobody")
	var padded int
	if err := pool.QueryRow(t.Context(),
		`SELECT count(*) FROM recipients, jsonb_each_text(attributes)
		WHERE value <> btrim(value, E' \u00a0\u200b\u2007\u3000\ufeff')`).
		Scan(&padded); err != nil || padded > 0 {
		t.Errorf("%d stored values have blanks around them, %v", padded, err)
	}
}

// valueActivities returns a worker's activities on a database of its own.
func valueActivities(t *testing.T, sources *query.Set) (*pgxpool.Pool, *Activities) {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 4)
	return pool, New(pool, nil, sources, loopback(t), 8, slog.New(slog.NewTextHandler(io.Discard, nil)))
}
