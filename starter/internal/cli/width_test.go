package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"directmailer/workflows"
)

// fits checks the rendered width, and that each of the texts is there, however it is wrapped.
func fits(t *testing.T, rendered string, texts ...string) {
	t.Helper()
	for line := range strings.Lines(rendered) {
		if n := text.StringWidthWithoutEscSequences(strings.TrimSuffix(line, "\n")); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	columns := make([]strings.Builder, 20)
	for line := range strings.Lines(rendered) {
		for i, cell := range strings.Split(line, "│") {
			columns[i].WriteString(strings.Join(strings.Fields(cell), ""))
		}
	}
	for _, want := range texts {
		found := false
		for i := range columns {
			found = found || strings.Contains(columns[i].String(), strings.Join(strings.Fields(want), ""))
		}
		if !found {
			t.Errorf("%q is not in\n%s", want, rendered)
		}
	}
	if t.Failed() {
		t.Log("\n" + rendered)
	}
}

func TestTheListOfMailingsFitsOnAPage(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long := standing{ID: strings.Repeat("newsletter-", 9) + "2026", State: workflows.StateTerminated, Audience: "continue:" + strings.Repeat("x", 100),
		Recipients: 123_456_789, Counts: workflows.Counts{Sent: 123_456_789, Bounced: 23_456_789, Failed: 3_456_789, OptedOut: 456_789, Uncertain: 56_789, Unsent: 6_789},
		Open: 10_000_000, CreatedAt: &now}
	short := standing{ID: "newsletter-20261123-101502", State: workflows.StateSending, Audience: "customers", Recipients: 2000, Counts: workflows.Counts{Sent: 1999, OptedOut: 1}, CreatedAt: &now}
	unknown := standing{ID: "x", State: stateStarted}
	for n, all := range [][]standing{{}, {short}, {unknown}, {long}, {short, long, unknown}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			writeList(&b, all)
			var texts []string
			for _, v := range all {
				texts = append(texts, v.ID+v.Audience, string(v.State))
			}
			if len(all) > 0 && all[len(all)-1].ID == long.ID {
				texts = append(texts, "open 10,000,000, bounced 23,456,789, failed 3,456,789, opted out 456,789, uncertain 56,789, unsent 6,789", now.Local().Format("2006-01-02 15:04"))
			}
			fits(t, b.String(), texts...)
		})
	}
	var b bytes.Buffer
	writeList(&b, []standing{short})
	if !strings.Contains(b.String(), "│ newsletter-20261123-101502 │ sending │      2,000 │ 1,999 │ opted out 1 │ "+now.Local().Format("2006-01-02 15:04")+" │") {
		t.Errorf("what fits is wrapped:\n%s", b.String())
	}
}

func TestTheAnswersOfACheckFitOnAPage(t *testing.T) {
	t.Parallel()
	findings := []finding{
		{What: "PostgreSQL", OK: true, Detail: "version 17.2 (Debian 17.2-1.pgdg120+1) at db.example.com:5432, migrated", Took: 0.0123},
		{What: "drop point " + strings.Repeat("backup-relay-", 4) + "2", Detail: strings.Repeat("tls: failed to verify certificate: x509: certificate is valid for other.example.com; ", 5), Took: 15},
		{What: "drop point mx", Detail: strings.Repeat("小", 200), Took: 9999},
		{What: "source crm", Detail: "reach " + strings.Repeat("host", 60)},
	}
	var b bytes.Buffer
	a := &app{Streams{Out: &b, Err: io.Discard}}
	a.showFindings(findings)
	var texts []string
	for _, f := range findings {
		texts = append(texts, f.What, f.Detail)
	}
	fits(t, b.String(), texts...)
}
