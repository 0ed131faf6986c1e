// Package uitest looks at mailings in Temporal's Web UI with a real browser. It is a module of its
// own, so that the browser's driver is no dependency of Direct Mailer.
package uitest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/internal/audience/lists"
	"directmailer/internal/config"
	"directmailer/internal/database"
	"directmailer/internal/dev/servers"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/worker/process"
	"directmailer/workflows"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// startTemporal starts a server with its Web UI, and sets the environment of this process for it.
func startTemporal(t *testing.T) (c client.Client, ui string) {
	t.Helper()
	server, err := servers.StartTemporal(t.Context(), servers.TemporalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	t.Setenv("TEMPORAL_ADDRESS", server.Address())
	t.Setenv("TEMPORAL_NAMESPACE", "default")
	t.Setenv("TEMPORAL_CONFIG_FILE", os.DevNull)
	c, err = client.Dial(client.Options{HostPort: server.Address(), Logger: log.NewStructuredLogger(silent)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, server.UI()
}

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// runWorker runs a worker until the test ends.
func runWorker(t *testing.T, url, dropPoints string) {
	t.Helper()
	t.Setenv("DATABASE_URL", url)
	t.Setenv("DM_DROP_POINTS", dropPoints)
	t.Setenv("DM_STOP_TIMEOUT", "5s")
	t.Setenv("DM_TOKEN_KEYS", "keys-of-tests-are-known-to-everybody")
	t.Setenv("DM_PUBLIC_URL", "https://mail.example.com")
	c, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- process.Run(ctx, c, silent) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
}

func importList(t *testing.T, url string, n int) {
	t.Helper()
	pool, err := database.Open(t.Context(), url, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := lists.New(pool).Import(t.Context(), "people", "people.csv", []string{"name"}, &rig.Members{N: n},
		true); err != nil {
		t.Fatal(err)
	}
}

// hostile is a text from outside that tries to be Markdown, HTML and a link.
const hostile = "421 4.3.2 **bold** <b>fat</b> | a | `code` [x](http://example.com/) http://example.net $a$ # " +
	"{namespace}"

// cells returns the second column of a table by its first column.
func cells(table [][]string) map[string]string {
	out := map[string]string{}
	for _, row := range table {
		if len(row) == 2 {
			out[row[0]] = row[1]
		}
	}
	return out
}

// entry returns the entry of a list that begins with a text.
func entry(list []string, begins string) string {
	i := slices.IndexFunc(list, func(s string) bool { return strings.HasPrefix(s, begins) })
	if i < 0 {
		return ""
	}
	return list[i]
}

// wantReadable checks the form of every page: facts as a list, counts as a table, drop points as a
// list, and nothing else. Facts and counts fit on one screen.
func wantReadable(t *testing.T, d details) {
	t.Helper()
	if len(d.Tables) != 1 || len(d.Lists) != 2 || len(d.Others) > 0 || strings.ContainsAny(d.Text, "|") &&
		!strings.Contains(d.Text, "| a |") {
		t.Fatalf("%d tables, %d lists, foreign elements %v in\n%s", len(d.Tables), len(d.Lists), d.Others, d.Text)
	}
	if !strings.HasPrefix(d.Text, "State:") {
		t.Errorf("the state is not the first thing that is read:\n%s", d.Text)
	}
	if d.Bottom > d.Height {
		t.Errorf("one has to scroll: %.0f pixels on a window of %.0f", d.Bottom, d.Height)
	}
}

func TestAStrangerReadsInTheWebUIHowAMailingDoes(t *testing.T) {
	browser := startBrowser(t)
	temporal, ui := startTemporal(t)
	t.Run("while it is sent", func(t *testing.T) { checkSending(t, browser, temporal, ui) })
	t.Run("whatever there is to say", func(t *testing.T) { checkFullStatus(t, browser, temporal, ui) })
}

// checkSending looks at a mailing of 3,000 recipients. Its server has accepted 1,000 messages and
// stalls the next ones. It accepts a few more for each look at the page: the rate is that of the
// last minute, and a page may take longer. Another server refuses every connection. Its reply
// counts as a failure at once; a 421 would count only after it has been repeated for a while.
func checkSending(t *testing.T, browser context.Context, temporal client.Client, ui string) {
	const recipients, accepted = 3000, 1000
	url := servertest.Database(t)
	importList(t, url, recipients)
	mx, stall := rig.StalledServer(t, accepted)
	spare := smtptest.Start(t, smtptest.Options{Script: func(smtptest.Event) *smtptest.Action {
		return &smtptest.Action{Reply: "451 4.3.2 closing down"}
	}})
	runWorker(t, url, "mx=smtp://"+mx.Addr()+" spare=smtp://"+spare.Addr())
	t.Cleanup(stall.ReleaseAll) // before the worker is stopped
	run, err := temporal.ExecuteWorkflow(t.Context(),
		client.StartWorkflowOptions{ID: "newsletter", TaskQueue: workflows.TaskQueue}, workflows.MailingType,
		workflows.Input{
			From: "News <news@example.com>", Subject: "Hello {{.name}}", List: "people", BatchSize: 100,
			Content: workflows.Content{Text: "Dear {{.name}},\nthis is the news.\n"},
			Retry: workflows.Retries{
				DropPoint: workflows.Retry{Attempts: 5, Interval: workflows.Duration(time.Hour)}},
		})
	if err != nil {
		t.Fatal(err)
	}
	d := show(t, browser, ui, run.GetID(), run.GetRunID(), "sending.png", func(d details) bool {
		stall.Release(20)
		return len(d.Tables) == 1 && len(cells(d.Tables[0])["sent"]) > 2 && strings.Contains(d.Text, "Rate:") &&
			strings.Contains(d.Text, "Done at about:") && strings.Contains(d.Text, "spare rests until")
	})
	wantReadable(t, d)
	if got := entry(d.Lists[0], "State:"); got != "State: sending" {
		t.Errorf("%q", got)
	}
	if got := entry(d.Lists[0], "Now:"); got != "Now: renders and sends" {
		t.Errorf("%q", got)
	}
	table := cells(d.Tables[0])
	if table["all"] != "3,000" || table["open"] == "3,000" || table["Outcome"] != "Recipients" {
		t.Errorf("counts: %v", table)
	}
	if got := entry(d.Lists[1], "mx"); got != "mx is in use" {
		t.Errorf("%q", got)
	}
	if got := entry(d.Lists[1], "spare rests until "); !strings.HasSuffix(got,
		" UTC after attempt 1 of 5: greeting was refused: 451 4.3.2") {
		t.Errorf("%q", got)
	}
}

// checkFullStatus looks at everything that a status can have, at once.
func checkFullStatus(t *testing.T, browser context.Context, temporal client.Client, ui string) {
	at := time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC)
	s := workflows.Status{
		State: workflows.StateSuspended, Doing: "waits, and probes every 30s, because: drop point mx: " + hostile,
		Since: at, Until: at.Add(time.Minute),
		Recipients: 1_000_000, Counts: workflows.Counts{Sent: 123_456, Bounced: 7, Failed: 8, OptedOut: 9,
			Uncertain: 10, Unsent: 11},
		RatePerSecond: 1234.5, ETA: at.Add(time.Hour), Deferred: 1200, NextRound: at.Add(2 * time.Hour), Batches: 2000,
		Rendered: 300, Closed: 246,
	}
	for i := range 40 {
		p := workflows.DropPointStatus{Name: fmt.Sprintf("mx-%d", i), InList: true}
		if i == 30 {
			p.InList, p.Until, p.LastFailure = false, at.Add(time.Minute),
				"drop point mx-30: "+strings.Repeat(hostile+" ", 40)
		}
		s.DropPoints = append(s.DropPoints, p)
	}
	w := worker.New(temporal, "details", worker.Options{})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, s workflows.Status) error {
		workflow.SetCurrentDetails(ctx, s.Details())
		return workflow.Await(ctx, func() bool { return false })
	}, workflow.RegisterOptions{Name: "Details"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	run, err := temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "details", TaskQueue: "details"},
		"Details", s)
	if err != nil {
		t.Fatal(err)
	}
	d := show(t, browser, ui, run.GetID(), run.GetRunID(), "suspended.png",
		func(d details) bool { return len(d.Text) > 0 })
	wantReadable(t, d)
	facts := []string{"State: suspended", "Now: " + s.Doing, "Since: 2026-11-25 16:00:00 UTC",
		"Next probe: 2026-11-25 16:01:00 UTC", "Rate: 1,235 messages/s",
		"Done at about: 2026-11-25 17:00:00 UTC",
		"Deferred: 1,200 recipients are refused for now; the next round is at 2026-11-25 18:00:00 UTC"}
	if !slices.Equal(d.Lists[0], facts) {
		t.Errorf("facts:\n%s\nwant:\n%s", strings.Join(d.Lists[0], "\n"), strings.Join(facts, "\n"))
	}
	want := [][]string{{"Outcome", "Recipients"}, {"sent", "123,456"}, {"bounced", "7"}, {"failed", "8"},
		{"opted out", "9"}, {"uncertain", "10"}, {"unsent", "11"},
		{"open", "876,499"}, {"all", "1,000,000"}}
	if fmt.Sprint(d.Tables[0]) != fmt.Sprint(want) {
		t.Errorf("counts: %v", d.Tables[0])
	}
	dropPoints := d.Lists[1]
	if len(dropPoints) != 9 || !strings.HasPrefix(dropPoints[0],
		"mx-30 has left the list, next probe 2026-11-25 16:01:00 UTC: 421 4.3.2 **bold** <b>fat</b>") ||
		!strings.HasSuffix(dropPoints[0], "…") || dropPoints[1] != "mx-0 is in use" ||
		dropPoints[8] != "and 32 others" {
		t.Errorf("drop points: %q", dropPoints)
	}
}
