package start

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/config"
	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// attributeTimeout is how long a new search attribute may need until all of Temporal knows it.
const attributeTimeout = 20 * time.Second

// startWorkflow starts the workflow. If Temporal does not have the search attributes, it registers
// them first. If that is not possible, it starts the workflow without them. The text of a query
// does not go to Temporal.
func startWorkflow(ctx context.Context, s *command.Store, c *temporalclient.Client, queue string, p plan) error {
	if q := p.in.Query; q != nil {
		reference, err := s.Mailings.StoreQuery(ctx, q.SQL)
		if err != nil {
			return err
		}
		p.in.Query = &workflows.Query{Source: q.Source, Stored: reference, Timeout: q.Timeout}
	}
	err := startOnce(ctx, c, queue, p, true)
	if unknownAttribute(err) {
		found, registerErr := c.RegisterSearchAttributes(ctx, s.Pool)
		if registerErr != nil {
			return command.TemporalFailure("register search attributes", registerErr)
		}
		for end := time.Now().Add(attributeTimeout); found.Usable && unknownAttribute(err) && time.Now().Before(end); {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
			err = startOnce(ctx, c, queue, p, true)
		}
		if unknownAttribute(err) {
			err = startOnce(ctx, c, queue, p, false)
		}
	}
	return startFailure(ctx, p.in.ID, p.in.Test, err)
}

// startFailure is the error of a start, or nil if err is nil. Unless Temporal has refused the
// start, it may have come through. Somebody who does not know that would start it again under
// another ID. Each test has an ID of its own.
func startFailure(ctx context.Context, id string, test bool, err error) error {
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case err == nil:
		return nil
	case errors.As(err, &already):
		return taken(id)
	case isRefused(err):
		return command.TemporalFailure("start the mailing", err)
	}
	code, why := exit.NoTemporal, "Temporal did not answer"
	switch {
	case ctx.Err() != nil:
		code, why = exit.Interrupted, "interrupted"
	case !temporalclient.Unreachable(err):
		why = "Temporal answered: " + command.TextOf(err)
	}
	again := fmt.Sprintf("It is safe to start it again under the same ID (--id %s)", id)
	if test {
		again = "A second test would be sent in addition to it"
	}
	return exit.Errorf(code, "%s, so mailing %s may be started or not: see `starter show %s`. %s", why, id, id, again)
}

// isRefused tells whether Temporal has certainly not done what it was asked.
func isRefused(err error) bool {
	return temporalclient.Denied(err) || errors.As(err, new(*serviceerror.InvalidArgument)) ||
		errors.As(err, new(*serviceerror.NamespaceNotFound)) ||
		errors.As(err, new(*serviceerror.NamespaceInvalidState)) || errors.As(err, new(*serviceerror.Unimplemented))
}

func startOnce(ctx context.Context, c *temporalclient.Client, queue string, p plan, searchable bool) error {
	summary, details := p.describe()
	options := client.StartWorkflowOptions{
		ID:                                       p.in.ID,
		TaskQueue:                                queue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            summary,
		StaticDetails:                            details,
	}
	if searchable {
		options.TypedSearchAttributes = temporal.NewSearchAttributes(
			workflows.StateAttribute.ValueSet(string(status.StateStarted)),
			workflows.ListAttribute.ValueSet(p.in.Audience()),
		)
	}
	kind := workflows.MailingType
	if p.in.Test {
		kind = workflows.TestType
		options.Priority.PriorityKey = policy.First
	}
	_, err := c.ExecuteWorkflow(ctx, options, kind, p.in)
	return err
}

func unknownAttribute(err error) bool {
	var invalid *serviceerror.InvalidArgument
	if !errors.As(err, &invalid) {
		return false
	}
	return strings.Contains(err.Error(), workflows.StateAttribute.GetName()) ||
		strings.Contains(err.Error(), workflows.ListAttribute.GetName())
}

// describe is what the Web UI shows of the mailing besides its progress. It names no recipient.
func (p plan) describe() (summary, details string) {
	in := p.in.WithDefaults()
	summary = fmt.Sprintf("%s to %s", p.name, audienceWords(in))
	var b strings.Builder
	fmt.Fprintf(&b, "Mailing file `%s`, %s", p.name, audienceWords(in))
	if p.listFile != "" {
		fmt.Fprintf(&b, " from `%s`", output.Base(p.listFile))
	}
	points := "all of the workers"
	if len(in.DropPoints) > 0 {
		points = strings.Join(in.DropPoints, ", ")
	}
	fmt.Fprintf(
		&b,
		"\n\n- drop points: %s\n- batches of %d\n- recipients whose answer was lost: %s\n- when attempts are used up: %s\n",
		points,
		in.BatchSize,
		in.OnUncertain,
		in.OnExhausted,
	)
	return firstBytes(summary, 300), firstBytes(b.String(), 4000)
}

// audienceWords says to whom a mailing goes: "the list customers".
func audienceWords(in workflows.Input) string {
	switch {
	case in.Query != nil:
		return "a query on " + in.Query.Source
	case in.Continue != nil:
		return strings.Join(in.Continue.Outcomes, ", ") + " of " + in.Continue.Mailing
	}
	return "the list " + in.List
}

// firstBytes cuts a text to n octets, for the limits of Temporal.
func firstBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// derivedID derives an ID from a file's name and the time: newsletter-20261123-101502.
func derivedID(path string, now time.Time) string {
	name := filepath.Base(path)
	name = strings.TrimSuffix(name, filepath.Ext(name))
	words := strings.FieldsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	})
	stem := strings.Join(words, "-")
	if len(stem) > 60 {
		stem = strings.TrimRight(stem[:60], "-")
	}
	if stem == "" {
		stem = "mailing"
	}
	return stem + "-" + now.UTC().Format("20060102-150405")
}

// webUI returns where the Web UI shows the mailing, or "" if that is not known.
func webUI(ui config.WebUI, c *temporalclient.Client, id string) string {
	path := "/namespaces/" + url.PathEscape(c.Namespace) + "/workflows/" + url.PathEscape(id)
	host, _, _ := net.SplitHostPort(c.Address)
	switch {
	case ui != "":
		return string(ui) + path
	case strings.HasSuffix(host, ".tmprl.cloud"), strings.HasSuffix(host, ".api.temporal.io"):
		return "https://cloud.temporal.io" + path
	}
	return ""
}

// warnOfNoWorker warns where no worker asks for work, so that a started mailing waits.
func (a *app) warnOfNoWorker(ctx context.Context) {
	conf, err := command.Settings()
	if err != nil {
		return
	}
	c, err := command.TryDial(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	if n, _, err := command.Pollers(ctx, c, conf.TaskQueue, enumspb.TASK_QUEUE_TYPE_ACTIVITY); err == nil && n == 0 {
		a.Say("starter: warning: no worker polls the task queue %q: the mailing waits until one does", conf.TaskQueue)
	}
}
