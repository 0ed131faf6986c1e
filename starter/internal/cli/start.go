package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/query"
	"directmailer/internal/content/render"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
)

func (a *app) startCommand() *cobra.Command {
	var file, id string
	var watch bool
	var of continuation
	cmd := &cobra.Command{
		Use:   "start {-f FILE | --continue ID}",
		Short: "Send a mailing",
		Long: `Starts the mailing that a YAML file describes. Everything that can be checked is checked first, and every problem is
reported at once with its place in the file. Then the list file that the mailing names is imported, replacing the list of
that name, and the mailing is started. It goes on by itself, whatever becomes of this shell.

An ID is used once and never again: a second start of the same ID is refused, and changes nothing. Without --id and without
an id in the file, the ID is made from the file's name and the time.

Rows of the list file that cannot be used are reported by line and left out; the exit code is then 3.

With --continue, a new mailing goes to those recipients that an earlier one, which has ended, had these outcomes for. It has
the earlier one's content and settings, or those of a file that is given as well, whose list is not read then. Its ID is
that of the earlier one with -2, -3, … Recipients who are continued already are not continued again, unless --id gives the
new mailing a name of its own.`,
		Example: `  starter start -f newsletter.yaml
  starter start -f newsletter.yaml --id newsletter-2026-11 --watch
  starter start --continue newsletter-2026-11                             who was left out when it was cancelled
  starter start --continue newsletter-2026-11 --outcomes failed -f mended.yaml`,
		Args: wants(),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the mailing file")
	cmd.Flags().StringVar(&id, "id", "", "the mailing's ID: letters and digits with single . _ or - between them")
	cmd.Flags().BoolVar(&watch, "watch", false, "watch it until it ends")
	cmd.Flags().StringVar(&of.of, "continue", "", "the ID of the mailing to continue")
	cmd.Flags().StringSliceVar(&of.outcomes, "outcomes", nil, "with --continue: recipients with one of these outcomes: "+strings.Join(continuable, ", ")+" (default unsent)")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	_ = cmd.RegisterFlagCompletionFunc("continue", a.completeID)
	_ = cmd.RegisterFlagCompletionFunc("outcomes", cobra.FixedCompletions(continuable, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := checkID(id); err != nil {
			return err
		}
		of.file, of.id = file, id
		if of.of != "" {
			if err := of.check(); err != nil {
				return err
			}
			s, err := openStore(ctx)
			if err != nil {
				return err
			}
			defer s.close()
			p, err := a.planContinuation(ctx, s, of)
			if err != nil {
				return err
			}
			return a.begin(ctx, s, p, watch)
		}
		if len(of.outcomes) > 0 {
			return usage("--outcomes means nothing without --continue")
		}
		p, err := a.readMailing(file, id)
		if err != nil {
			return err
		}
		s, err := openStore(ctx)
		if err != nil {
			return err
		}
		defer s.close()
		return a.begin(ctx, s, p, watch)
	}
	return cmd
}

// begin starts the mailing, tells where to look for it, and watches it if that is wanted.
func (a *app) begin(ctx context.Context, s *store, p plan, watch bool) error {
	rejected, err := a.start(ctx, s, p)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "mailing %s is started\n", p.in.ID)
	a.warnOfNoWorker(ctx)
	if watch {
		err = a.watch(ctx, s, p.in.ID, false)
	} else {
		fmt.Fprintf(a.Out, "  starter watch %s\n", p.in.ID)
	}
	if err == nil && rejected > 0 {
		err = failf(RowsRejected, "mailing %s went on without %s of %s, rejected above", p.in.ID, count(rejected, "row"), base(p.listFile))
	}
	return err
}

// start imports the list and starts the mailing, unless its ID is known already: then nothing is done at all.
func (a *app) start(ctx context.Context, s *store, p plan) (rejected int64, err error) {
	c, err := dial(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := notTaken(ctx, s, c, p.in.ID); err != nil {
		return 0, err
	}
	switch {
	case p.listFile != "":
		done, err := a.importList(ctx, s, p.in.List, p.listFile, true, false)
		if err != nil {
			return 0, err
		}
		a.say("list %s: %s", done.Name, done.describe())
		rejected = done.Rejected
	case p.in.Query != nil:
		if err := a.checkQuery(ctx, p); err != nil {
			return 0, err
		}
	case p.in.List != "":
		if err := a.checkStored(ctx, s, p); err != nil {
			return 0, err
		}
	}
	conf, err := settings()
	if err != nil {
		return rejected, err
	}
	return rejected, startWorkflow(ctx, c, conf.TaskQueue, p)
}

// warnOfNoWorker says so when a mailing that was just started has nobody to do it.
func (a *app) warnOfNoWorker(ctx context.Context) {
	conf, err := settings()
	if err != nil {
		return
	}
	c, err := tryDial(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	if n, _, err := pollers(ctx, c, conf.TaskQueue); err == nil && n == 0 {
		a.say("starter: warning: no worker polls the task queue %q: the mailing waits until one does", conf.TaskQueue)
	}
}

// checkStored checks a mailing to a list that is stored already: that the list is there, and has the fields of the templates.
func (a *app) checkStored(ctx context.Context, s *store, p plan) error {
	l, err := s.lists.Get(ctx, p.in.List)
	if errors.Is(err, lists.ErrNotFound) {
		return failf(NotFound, "%s: no list is named %s: import it with `starter list import`, or name its file in the mailing file", p.name, p.in.List)
	}
	if err != nil {
		return err
	}
	faults := faultList{name: p.name}
	faults.fields(p, l.Columns)
	return faults.report(a)
}

// checkQuery has the source look at the query, if this shell knows it. If it does not, or the source is away, the workers will say.
func (a *app) checkQuery(ctx context.Context, p plan) error {
	sources, err := knownSources()
	if err != nil || p.file == nil || !sources.Has(p.in.Query.Source) {
		return err
	}
	columns, err := sources.Describe(ctx, p.in.Query.Source, p.in.Query.SQL, checkPatience)
	faults := faultList{name: p.name}
	var fault *query.Fault
	switch {
	case errors.As(err, &fault):
		faults.problem(p.file, render.Problem{Field: "query.sql", Message: fault.Text})
	case err != nil:
		return ctx.Err()
	default:
		faults.fields(p, columns)
	}
	return faults.report(a)
}

// knownSources are the source databases that this shell knows.
func knownSources() (*query.Set, error) {
	c, err := settings()
	return query.NewSet(c.Sources), err
}

// notTaken refuses an ID that the database or Temporal knows.
func notTaken(ctx context.Context, s *store, c client.Client, id string) error {
	_, err := s.mailings.Get(ctx, id)
	if err == nil {
		return taken(id)
	}
	if !errors.Is(err, mailings.ErrNotFound) {
		return err
	}
	_, err = c.DescribeWorkflowExecution(ctx, id, "")
	if err == nil {
		return taken(id)
	}
	if isNotFound(err) {
		return nil
	}
	return temporalFailure("see whether the ID is free", err)
}

func taken(id string) error {
	return failf(Exists, "mailing %s exists already: an ID is used once and never again; see `starter show %s`, or choose another with --id. Nothing was started", id, id)
}

// attributePatience is how long a new search attribute may take to be known everywhere in Temporal.
const attributePatience = 20 * time.Second

// startWorkflow starts the workflow. Where Temporal does not know the mailings' search attributes, it makes them known first.
func startWorkflow(ctx context.Context, c *temporalclient.Cluster, queue string, p plan) error {
	err := startOnce(ctx, c, queue, p)
	if unknownAttribute(err) {
		if err := c.RegisterSearchAttributes(ctx); err != nil {
			return temporalFailure("register search attributes", err)
		}
		for end := time.Now().Add(attributePatience); unknownAttribute(err) && time.Now().Before(end); {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
			err = startOnce(ctx, c, queue, p)
		}
	}
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return taken(p.in.ID)
	}
	if temporalclient.Unreachable(err) { // it may have come through
		return failf(NoTemporal, "Temporal has not answered: whether mailing %s is started, `starter show %s` will say; starting it again under the same ID is safe", p.in.ID, p.in.ID)
	}
	return temporalFailure("start the mailing", err)
}

func startOnce(ctx context.Context, c *temporalclient.Cluster, queue string, p plan) error {
	summary, details := p.describe()
	_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       p.in.ID,
		TaskQueue:                                queue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            summary,
		StaticDetails:                            details,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			workflows.StateAttribute.ValueSet(string(stateStarted)), workflows.ListAttribute.ValueSet(p.in.Audience())),
	}, workflows.MailingType, p.in)
	return err
}

func unknownAttribute(err error) bool {
	var invalid *serviceerror.InvalidArgument
	return errors.As(err, &invalid) && (strings.Contains(err.Error(), workflows.StateAttribute.GetName()) || strings.Contains(err.Error(), workflows.ListAttribute.GetName()))
}

// describe is what the Web UI shows of the mailing besides its progress: nothing about recipients.
func (p plan) describe() (summary, details string) {
	in := p.in.WithDefaults()
	summary = fmt.Sprintf("%s to %s", p.name, audienceWords(in))
	var b strings.Builder
	fmt.Fprintf(&b, "Mailing file `%s`, %s", p.name, audienceWords(in))
	if p.listFile != "" {
		fmt.Fprintf(&b, " from `%s`", base(p.listFile))
	}
	points := "all of the workers"
	if len(in.DropPoints) > 0 {
		points = strings.Join(in.DropPoints, ", ")
	}
	fmt.Fprintf(&b, "\n\n- drop points: %s\n- batches of %d\n- whose answer was lost: %s\n- when tries are used up: %s\n", points, in.BatchSize, in.OnUncertain, in.OnExhausted)
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

// firstBytes keeps a text below Temporal's limits.
func firstBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// derivedID makes an ID from a file's name and the time: newsletter-20261123-101502.
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
