package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/query"
	"directmailer/internal/config"
	"directmailer/internal/content/render"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
)

// startOptions are the flags of `starter start`.
type startOptions struct {
	file, id      string
	watch, dryRun bool
	of            continuation
	json          bool
}

func (a *app) startCommand() *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start {-f FILE | --continue ID}",
		Short: "Start a mailing",
		Long: `Starts the mailing that a YAML file describes. The command first checks everything that can be
checked, and reports every problem at once with its place in the file. Then it imports the list
file that the mailing names, which replaces the list of that name, and starts the mailing. The
mailing continues without this shell.

An ID is used once and never again. The command refuses a second start of the same ID, and
changes nothing. Without --id, and without an id in the file, the ID is derived from the file's
name and the time.

The command leaves out rows of the list file that cannot be used, and reports them by line. The
exit code is then 3. With --watch, the exit code first tells how the mailing ended, as that of
` + "`starter watch`" + ` does.

With --continue, a new mailing goes to those recipients of an earlier mailing that had one of
the outcomes. The earlier mailing must have ended. The new one has its content and settings, or
those of a file; it ignores that file's list. Its ID is the earlier one with -2, -3, … The
command refuses to continue the same recipients twice, unless --id gives the new mailing an ID
of its own.

With --dry-run the command checks everything and counts the recipients. It starts nothing and
changes nothing.`,
		Example: `  starter start -f newsletter.yaml
  starter start -f newsletter.yaml --id newsletter-2026-11 --watch

  # check everything and count the recipients, and start nothing
  starter start -f newsletter.yaml --dry-run

  # send to the recipients that were left out when it was cancelled
  starter start --continue newsletter-2026-11

  # send a corrected message to the recipients that failed
  starter start --continue newsletter-2026-11 --outcome failed -f corrected.yaml`,
		Args: needs(),
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "mailing file")
	cmd.Flags().StringVar(&o.id, "id", "", "ID of the mailing: letters and digits, with single . _ or - between them")
	cmd.Flags().BoolVar(&o.watch, "watch", false, "watch the mailing until it ends")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "check everything, count the recipients, and start nothing")
	cmd.Flags().StringVar(&o.of.of, "continue", "", "ID of the mailing to continue")
	cmd.Flags().StringSliceVar(&o.of.outcomes, "outcome", nil,
		"with --continue: recipients with these outcomes: "+strings.Join(continuable, ", ")+" (default unsent)")
	format := output.AddFormat(cmd, "table", "json")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	_ = cmd.RegisterFlagCompletionFunc("continue", a.completeID)
	_ = cmd.RegisterFlagCompletionFunc(
		"outcome",
		cobra.FixedCompletions(continuable, cobra.ShellCompDirectiveNoFileComp),
	)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.json = format.JSON()
		if o.watch && o.dryRun {
			return exit.Usagef("give either --watch or --dry-run: a dry run starts nothing to watch")
		}
		if cmd.Flags().Changed("id") {
			if err := checkID(o.id); err != nil {
				return err
			}
		}
		p, s, err := a.planStart(cmd.Context(), o)
		if err != nil {
			return err
		}
		defer s.close()
		if o.dryRun {
			return a.dryRun(cmd.Context(), s, p, o.json)
		}
		return a.begin(cmd.Context(), s, p, o)
	}
	return cmd
}

// planStart makes the plan of the mailing, and opens the database.
func (a *app) planStart(ctx context.Context, o startOptions) (plan, *store, error) {
	if o.of.of == "" {
		if len(o.of.outcomes) > 0 {
			return plan{}, nil, exit.Usagef("--outcome needs --continue")
		}
		p, err := a.readMailing(o.file, o.id)
		if err != nil {
			return plan{}, nil, err
		}
		s, err := openStore(ctx)
		return p, s, err
	}
	of := o.of
	of.file, of.id = o.file, o.id
	if err := of.check(); err != nil {
		return plan{}, nil, err
	}
	s, err := openStore(ctx)
	if err != nil {
		return plan{}, nil, err
	}
	p, err := a.planContinuation(ctx, s, of)
	if err != nil {
		s.close()
	}
	return p, s, err
}

// started is the answer of `starter start`.
type started struct {
	Mailing  string `json:"mailing"`
	Audience string `json:"audience"`
	Rejected int64  `json:"rejected"` // rows of the list file
	WebUI    string `json:"web_ui,omitempty"`
}

// begin starts the mailing, says where it is shown, and watches it if that is wanted.
func (a *app) begin(ctx context.Context, s *store, p plan, o startOptions) error {
	done, err := a.start(ctx, s, p)
	if err != nil {
		return err
	}
	switch {
	case o.json && !o.watch:
		err = output.WriteJSON(a.Out, done)
	case !o.json:
		fmt.Fprintf(a.Out, "mailing %s is started\n", done.Mailing)
		if done.WebUI != "" {
			fmt.Fprintf(a.Out, "  %s\n", done.WebUI)
		}
	}
	a.warnOfNoWorker(ctx)
	if o.watch {
		err = a.watch(ctx, s, p.in.ID, o.json)
	} else if !o.json {
		fmt.Fprintf(a.Out, "  starter watch %s\n", done.Mailing)
	}
	if err == nil && done.Rejected > 0 {
		err = rejectedError(p, done.Rejected)
	}
	return err
}

func rejectedError(p plan, rejected int64) error {
	return exit.Errorf(
		exit.RowsRejected,
		"mailing %s leaves out %s of %s, rejected above",
		p.in.ID,
		output.Count(rejected, "row"),
		output.Base(p.listFile),
	)
}

// start imports the list and starts the mailing. If its ID is known already, start does nothing.
func (a *app) start(ctx context.Context, s *store, p plan) (done started, err error) {
	conf, err := settings()
	if err != nil {
		return done, err
	}
	c, err := dial(ctx)
	if err != nil {
		return done, err
	}
	defer c.Close()
	if err := notTaken(ctx, s, c, p.in.ID); err != nil {
		return done, err
	}
	done = started{Mailing: p.in.ID, Audience: p.in.Audience(), WebUI: webUI(conf.WebUI, c, p.in.ID)}
	if p.listFile != "" {
		r, err := openList(p.listFile)
		if err != nil {
			return done, err
		}
		defer r.Close()
		list, err := a.importList(ctx, s, p.in.List, p.listFile, r, true, false)
		if err != nil {
			return done, err
		}
		if slices.ContainsFunc(list.Mapping, isRenamed) {
			columnMapping.Render(a.Err, list.Mapping)
		}
		a.say("list %s: %s", list.Name, list.describe())
		done.Rejected = list.Rejected
	} else if err := a.checkAudience(ctx, s, p); err != nil {
		return done, err
	}
	return done, startWorkflow(ctx, c, conf.TaskQueue, p)
}

// checkAudience checks an audience that is not a list file.
func (a *app) checkAudience(ctx context.Context, s *store, p plan) error {
	switch {
	case p.in.Query != nil:
		return a.checkQuery(ctx, p)
	case p.in.List != "":
		return a.checkStored(ctx, s, p)
	}
	return nil
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

// checkStored checks that a stored list is there, and has the fields of the templates.
func (a *app) checkStored(ctx context.Context, s *store, p plan) error {
	l, err := s.lists.Get(ctx, p.in.List)
	if errors.Is(err, lists.ErrNotFound) {
		return exit.Errorf(
			exit.NotFound,
			"%s: no list is named %s: import it with `starter list import`, or name its file in the mailing file",
			p.name,
			p.in.List,
		)
	}
	if err != nil {
		return err
	}
	faults := faultList{name: p.name}
	faults.fields(p, l.Columns)
	return faults.report(a)
}

// checkQuery lets the source parse the query, if this shell has the source. Otherwise, and while
// the source does not answer, the workers check it.
func (a *app) checkQuery(ctx context.Context, p plan) error {
	sources, err := knownSources()
	if err != nil || p.file == nil || !sources.Has(p.in.Query.Source) {
		return err
	}
	columns, err := sources.Describe(ctx, p.in.Query.Source, p.in.Query.SQL, checkTimeout)
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
	if status.IsNotFound(err) {
		return nil
	}
	return temporalFailure("see whether the ID is free", err)
}

func taken(id string) error {
	return exit.Errorf(
		exit.Exists,
		"mailing %s exists already, and an ID is used only once: see `starter show %s`, or choose another ID with --id. "+
			"Nothing was started",
		id,
		id,
	)
}
