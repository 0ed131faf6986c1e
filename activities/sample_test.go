package activities

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// renderSampled renders a batch with a sample of the first 100 recipients.
func renderSampled(t *testing.T, a *Activities, batch int) (workflows.Rendered, error) {
	t.Helper()
	return renderCalled(t, a, workflows.RenderCall{Mailing: "spring", Batch: batch, Retry: retries, Sample: 100})
}

// wantNothingRendered fails the test unless err says why no recipient of the sample has a message.
func wantNothingRendered(t *testing.T, err error, reason string) {
	t.Helper()
	var app *temporal.ApplicationError
	want := "none of the first 100 recipients can be rendered: " + reason
	if !errors.As(err, &app) || app.Type() != policy.NothingRendered || !app.NonRetryable() || app.Message() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// stored counts the spooled batches and the recipients that are failed.
func stored(t *testing.T, pool *pgxpool.Pool) (spooled, failed int) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM spool), (SELECT count(*) FROM deliveries WHERE status = 'failed')`).
		Scan(&spooled, &failed)
	if err != nil {
		t.Fatal(err)
	}
	return spooled, failed
}

func TestNobodyIsFailedWhileNoneOfTheFirstRecipientsHasAMessage(t *testing.T) {
	t.Parallel()
	pool, a := preparedInBatches(t, 150, 10, workflows.Content{Text: "Hello\n{{.gone}}"})
	const reason = `content.text line 2, column 3: no field "gone"`
	for _, batch := range []int{1, 10, 11, 15} {
		_, err := renderSampled(t, a, batch)
		wantNothingRendered(t, err, reason)
	}
	if spooled, failed := stored(t, pool); spooled != 0 || failed != 0 {
		t.Errorf("%d batches are spooled and %d recipients are failed", spooled, failed)
	}
	// An operator has resumed the mailing.
	out, err := renderCalled(t, a, workflows.RenderCall{Mailing: "spring", Batch: 1, Retry: retries})
	if spooled, failed := stored(t, pool); err != nil || out.Failed != 10 || spooled != 1 || failed != 10 {
		t.Errorf("%+v, %v: %d batches are spooled and %d recipients are failed", out, err, spooled, failed)
	}
}

func TestOneMessageAmongTheFirstRecipientsIsEnough(t *testing.T) {
	t.Parallel()
	for _, good := range []int{1, 57, 100, 101} {
		pool, a := preparedInBatches(t, 150, 10, workflows.Content{
			Text: fmt.Sprintf(`Hello {{if ne .n "%d"}}{{.gone}}{{end}}`, good),
		})
		out, err := renderSampled(t, a, 5) // recipients 41 to 50
		if good > 100 {
			wantNothingRendered(t, err, `content.text line 1, column 27: no field "gone"`)
			continue
		}
		if _, failed := stored(t, pool); err != nil || out.Failed != 10 || failed != 10 {
			t.Errorf("only recipient %d has a message: %+v, %v, %d failed", good, out, err, failed)
		}
	}
}

func TestTheCommonestReasonOfTheFirstRecipientsIsTold(t *testing.T) {
	t.Parallel()
	_, a := preparedInBatches(t, 150, 10, workflows.Content{
		Text: `{{if eq .n "7"}}{{.seven}}{{else if eq .n "88"}}{{.eightyEight}}{{else}}{{.others}}{{end}}`,
	})
	_, err := renderSampled(t, a, 1)
	wantNothingRendered(t, err, `content.text line 1, column 75: no field "others" (98 of them), and 2 other reasons`)
}

func TestPagesThatAreMissingForAllOfTheFirstRecipientsFailNobody(t *testing.T) {
	t.Parallel()
	var there atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !there.Load() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "Hello")
	}))
	t.Cleanup(server.Close)
	pool, a := preparedInBatches(t, 150, 60, workflows.Content{PageURL: server.URL + "/{{.n}}"})
	_, err := renderSampled(t, a, 1)
	if err == nil || !strings.Contains(err.Error(), "404") || strings.Contains(err.Error(), server.URL) {
		t.Errorf("got %v", err)
	}
	wantNothingRendered(t, err, "content.page_url: 127.0.0.1 answered 404")
	if spooled, failed := stored(t, pool); spooled != 0 || failed != 0 {
		t.Errorf("%d batches are spooled and %d recipients are failed", spooled, failed)
	}
	there.Store(true)
	if out, err := renderSampled(t, a, 1); err != nil || out.Messages != 60 {
		t.Errorf("%+v, %v", out, err)
	}
}
