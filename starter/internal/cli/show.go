package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
)

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a mailing: what it does, what it waits for, its ledger",
		Long: `Shows a mailing from the database, for as long as it is kept there, and adds what Temporal knows where that answers.
A mailing whose workflow was terminated is counted row by row; ` + "`starter close`" + ` closes its ledger.`,
		Example: `  starter show newsletter-2026-11
  starter show newsletter-2026-11 --output json | jq .sent`,
		Args: wants("the mailing's ID"),
	}
	output := outputFlag(cmd)
	cmd.ValidArgsFunction = a.completeMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		s, err := openStore(ctx)
		if err != nil {
			return err
		}
		defer s.close()
		l := askOnce(ctx, args[0])
		v, err := readBoth(ctx, s, args[0], func(context.Context) live { return l })
		if err != nil {
			return err
		}
		if l.err != nil && !v.Closed {
			a.say("Temporal does not answer: this is what the database knows")
		}
		if v.stored && v.ended() && !v.Closed {
			if err := s.tally(ctx, &v); err != nil {
				return err
			}
		}
		if err := s.addRates(ctx, &v); err != nil {
			return err
		}
		if output.json() {
			return writeJSON(a.Out, v)
		}
		writeStanding(a.Out, v)
		return nil
	}
	return cmd
}

// askOnce asks Temporal, if it answers soon.
func askOnce(ctx context.Context, id string) live {
	c, err := tryDial(ctx)
	if err != nil {
		return live{err: err}
	}
	defer c.Close()
	return askTemporal(ctx, c, id)
}

// writeStanding shows a mailing to people.
func writeStanding(w io.Writer, v standing) {
	t := newTable(w, nil)
	t.AppendRow(table.Row{"mailing", v.ID})
	t.AppendRow(table.Row{"state", v.State})
	row := func(name, value string) {
		if value != "" {
			t.AppendRow(table.Row{name, clean(value)})
		}
	}
	row("why", v.Reason)
	if v.State == workflows.StateTerminated && !v.Closed {
		row("why", fmt.Sprintf("its workflow was terminated, and its ledger is open: `starter close %s` closes it", v.ID))
	}
	row("doing", v.Doing)
	if !v.Since.IsZero() {
		row("since", moment(v.Since))
	}
	if !v.Until.IsZero() {
		row(untilWord(v), moment(v.Until))
	}
	for _, w := range v.Waiting {
		if w.point == "" { // drop points have lines of their own
			row("waits", describeWaiting(w))
		}
	}
	row("deferred", describeDeferred(v))
	if v.List != "" {
		row("list", v.List)
	} else {
		row("audience", v.Audience)
	}
	if v.PreparedAt != nil {
		row("members", describeMembers(v.Members, v.Duplicates))
		row("batches", fmt.Sprintf("%s, %s rendered, %s closed", thousands(v.Batches), thousands(v.Rendered), thousands(v.ClosedBatches)))
	}
	for _, p := range v.DropPoints {
		row("drop point", describeDropPoint(p))
	}
	for _, l := range v.Rates {
		row("rate limit", describeLimit(l))
	}
	row("started", optional(v.CreatedAt))
	row("prepared", optional(v.PreparedAt))
	row("ended", optional(v.ClosedAt))
	t.Render()
	for _, p := range v.Problems {
		fmt.Fprintf(w, "  %s\n", clean(p.String()))
	}
	if v.stored && v.PreparedAt != nil {
		writeLedger(w, v)
	}
}

func describeMembers(members, duplicates int64) string {
	return fmt.Sprintf("%s, %s of them with an address that was there before", count(members, "member"), thousands(duplicates))
}

func optional(at *time.Time) string {
	if at == nil {
		return ""
	}
	return moment(*at)
}

// untilWord: a suspended mailing goes on looking when the time has come, others go on.
func untilWord(v standing) string {
	if v.State == workflows.StateSuspended {
		return "next probe"
	}
	return "until"
}

func describeDeferred(v standing) string {
	if v.Deferred == 0 {
		return ""
	}
	text := count(v.Deferred, "recipient") + " refused for now"
	if !v.NextRound.IsZero() {
		text += ", next round at " + moment(v.NextRound)
	}
	return text
}

func describeDropPoint(p workflows.DropPointStatus) string {
	var text string
	switch {
	case !p.InList:
		text = p.Name + " has left the list"
		if !p.Until.IsZero() {
			text += ", is looked at again at " + moment(p.Until)
		}
	case !p.Until.IsZero():
		text = p.Name + " waits until " + moment(p.Until)
	case p.OnTrial:
		text = p.Name + ", back in the list, on trial with one batch at a time"
	case p.Failures > 0:
		text = p.Name + " is tried again"
	case p.LastFailure != "":
		text = p.Name + ", in the list again"
	default:
		return p.Name
	}
	switch {
	case p.InList && p.Failures > 0 && p.Attempts > 0:
		text += fmt.Sprintf(", after attempt %d of %d", p.Failures, p.Attempts)
	case p.Failures > 0:
		text += ", after " + count(p.Failures, "failure")
	}
	if p.LastFailure != "" {
		text += ": " + strings.TrimPrefix(p.LastFailure, "drop point "+p.Name+": ")
	}
	return text
}

func describeLimit(l limitLine) string {
	switch l.Kind {
	case ratelimit.DropPoint.String():
		return fmt.Sprintf("%s to drop point %s", l.Rate, l.Name)
	case ratelimit.Domain.String():
		return fmt.Sprintf("%s to %s", l.Rate, l.Name)
	}
	return fmt.Sprintf("%s of this mailing", l.Rate)
}

// writeLedger shows the outcomes and what they add up to.
func writeLedger(w io.Writer, v standing) {
	title := "Ledger, closed"
	if !v.Closed {
		title = "Ledger, open"
	}
	t := newTable(w, table.Row{title, "recipients"}, "recipients")
	for _, o := range outcomesOf(v.Counts) {
		t.AppendRow(table.Row{o.name, thousands(o.n)})
	}
	if !v.Closed {
		t.AppendRow(table.Row{"open", thousands(v.Open)})
	}
	t.AppendSeparator()
	t.AppendRow(table.Row{"all recipients", thousands(v.Recipients)})
	t.Render()
	if v.PossiblyTwice > 0 {
		fmt.Fprintf(w, "%s may have got it twice: `starter report %s` says who.\n", count(v.PossiblyTwice, "recipient"), v.ID)
	}
}

type outcome struct {
	name string
	n    int64
}

func outcomesOf(c workflows.Counts) []outcome {
	return []outcome{{"sent", c.Sent}, {"bounced", c.Bounced}, {"failed", c.Failed}, {"opted out", c.OptedOut}, {"uncertain", c.Uncertain}, {"unsent", c.Unsent}}
}

// outcomeLine is the outcomes that somebody has, in one line.
func outcomeLine(c workflows.Counts) string {
	parts := []string{"sent " + thousands(c.Sent)}
	for _, o := range outcomesOf(c)[1:] {
		if o.n > 0 {
			parts = append(parts, o.name+" "+thousands(o.n))
		}
	}
	if c.PossiblyTwice > 0 {
		parts = append(parts, "possibly twice "+thousands(c.PossiblyTwice))
	}
	return strings.Join(parts, ", ")
}

func (a *app) lsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List mailings, newest first",
		Long:    "Lists mailings from the database, and those that Temporal has and no worker has taken up yet.",
		Example: "  starter ls\n  starter ls --limit 5 --output json",
		Args:    wants(),
	}
	output := outputFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "show at most this many")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 || limit > 10_000 {
			return usage("--limit must be 1 to 10000")
		}
		c, err := settings()
		if err != nil {
			return err
		}
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		all, err := a.latest(cmd.Context(), s, c.TaskQueue, limit)
		if err != nil {
			return err
		}
		if output.json() {
			return writeJSON(a.Out, all)
		}
		writeList(a.Out, all)
		return nil
	}
	return cmd
}

// writeList shows mailings in a table that fits the page: the audience stands below the ID, and
// outcomes that nobody has are left out.
func writeList(w io.Writer, all []standing) {
	rows := make([][]string, len(all))
	for i, v := range all {
		var others []string
		for _, o := range append([]outcome{{"open", v.Open}}, outcomesOf(v.Counts)...) {
			if o.n > 0 && o.name != "sent" {
				others = append(others, o.name+" "+thousands(o.n))
			}
		}
		started := ""
		if v.CreatedAt != nil {
			started = v.CreatedAt.Local().Format("2006-01-02 15:04")
		}
		rows[i] = []string{v.ID + "\n" + clean(v.Audience), string(v.State), thousands(v.Recipients), thousands(v.Sent), strings.Join(others, ", "), started}
	}
	writeFitted(w, []string{"mailing", "state", "recipients", "sent", "others", "started"}, rows, map[string]int{"mailing": 30, "others": 20}, "recipients", "sent")
}

// latest returns the newest mailings, those that only Temporal knows first.
func (a *app) latest(ctx context.Context, s *store, queue string, limit int) ([]standing, error) {
	rows, err := s.mailings.Latest(ctx, limit)
	if err != nil {
		return nil, err
	}
	c, err := tryDial(ctx)
	if err != nil {
		a.say("Temporal does not answer: this is what the database knows")
	} else {
		defer c.Close()
	}
	all := []standing{}
	if c != nil {
		all = onlyStarted(ctx, c, s, queue)
	}
	for _, m := range rows {
		v, err := s.standingOf(ctx, m)
		if err != nil {
			return nil, err
		}
		if !v.Closed && c != nil {
			v.with(phase(ctx, c, v))
		}
		v.Doing = "" // a list says who, show says what
		all = append(all, v)
	}
	return all[:min(limit, len(all))], nil
}

// phase is what Temporal itself knows, without asking a worker: a list must not wait for as many answers as it has lines.
func phase(ctx context.Context, c *temporalclient.Cluster, v standing) live {
	l := live{pollers: -1}
	info, err := describe(ctx, c, v.ID)
	switch {
	case isNotFound(err):
	case err != nil:
		l.err = err
	case info.FirstRunId == v.firstRunID:
		l.known = true
		l.read(info)
	}
	return l
}

// onlyStarted returns running mailings of a task queue (of all, if it is empty) that are not in the database: no worker has taken them
// up yet.
func onlyStarted(ctx context.Context, c *temporalclient.Cluster, s *store, queue string) []standing {
	query := fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", workflows.MailingType)
	if queue != "" {
		query += fmt.Sprintf(" AND TaskQueue = '%s'", strings.ReplaceAll(queue, "'", "''"))
	}
	response, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: c.Namespace, PageSize: 100, Query: query})
	all := []standing{}
	if err != nil {
		return all
	}
	for _, info := range response.Executions {
		id := info.Execution.GetWorkflowId()
		if _, err := s.mailings.Get(ctx, id); err == nil {
			continue
		}
		v := standing{ID: id}
		l := live{known: true, pollers: -1}
		l.read(info)
		v.with(l)
		v.Doing = ""
		all = append(all, v)
	}
	return all
}
