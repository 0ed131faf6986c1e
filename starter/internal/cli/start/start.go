package start

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/listfile"
	"directmailer/starter/internal/cli/mailing"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

// startOptions are the flags of `starter start`.
type startOptions struct {
	file, id      string
	watch, dryRun bool
	dns           DNS
	despite       []string // codes of findings
	ignoreAll     bool     // people who asked not to get any mail get this mailing
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
changes nothing. It also refuses to start a mailing that another command is starting. Without
--id, and without an id in the file, the ID is derived from the file's name and the time.

The command leaves out rows of the list file that cannot be used, and reports them by line. The
exit code is then 3. With --watch, the exit code first tells how the mailing ended, as that of
` + "`starter watch`" + ` does.

With --continue, a new mailing goes to those recipients of an earlier mailing that had one of
the outcomes. The earlier mailing must have ended. The new one has its content and settings, or
those of a file; it ignores that file's list. Its ID is the earlier one with -2, -3, … The
command refuses to continue the same recipients twice, unless --id gives the new mailing an ID
of its own.

The command first renders the messages of a sample of real recipients: the first 20, and those
with the emptiest, the longest, the lowest and the highest values of the fields that the
templates use, among the first 100,000. It starts nothing when all of them fail, or when a
template fails whatever the values are. When some of them fail, it warns, and names the field and
the place. It fetches no pages.

It also looks at these messages as receivers and readers see them, as ` + "`starter check -f`" + ` does.
It warns of what costs trust, and starts nothing when a finding is an error. With --despite and
the code of the error it starts the mailing all the same. With --resolver it looks up the DNS
records of the sender, too.

A mailing with ignore_opt_outs goes to people who asked not to be mailed, because the law demands
it. The command warns of it. With ignore_opt_outs: [all], it starts nothing without
--ignore-all-opt-outs.

With --dry-run the command checks everything, renders the sample and counts the recipients. It
starts nothing and changes nothing.`,
		Example: `  starter start -f newsletter.yaml
  starter start -f newsletter.yaml --id newsletter-2026-11 --watch

  # check everything and count the recipients, and start nothing
  starter start -f newsletter.yaml --dry-run

  # send mail that the law demands, which nobody can leave
  starter start -f recall.yaml --despite unsubscribe-none-bulk

  # send to the recipients that were left out when it was cancelled
  starter start --continue newsletter-2026-11

  # send a corrected message to the recipients that failed
  starter start --continue newsletter-2026-11 --outcome failed -f corrected.yaml`,
		Args: command.Needs(),
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "mailing file")
	cmd.Flags().StringVar(&o.id, "id", "", "ID of the mailing: letters and digits, with single . _ or - between them")
	cmd.Flags().BoolVar(&o.watch, "watch", false, "watch the mailing until it ends")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "check everything, count the recipients, and start nothing")
	cmd.Flags().StringVar(&o.of.of, "continue", "", "ID of the mailing to continue")
	cmd.Flags().StringSliceVar(&o.of.outcomes, "outcome", nil,
		"outcomes to --continue: "+strings.Join(continuable, ", ")+" (default unsent)")
	cmd.Flags().StringSliceVar(&o.despite, "despite", nil, "codes of errors that must not stop the mailing")
	o.dns.AddFlags(cmd)
	cmd.Flags().BoolVar(&o.ignoreAll, "ignore-all-opt-outs", false,
		"confirm that a mailing with ignore_opt_outs: [all] goes to people who want no mail")
	format := output.AddFormat(cmd, "table", "json")
	_ = cmd.RegisterFlagCompletionFunc("despite", completeDespite)
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	_ = cmd.RegisterFlagCompletionFunc("continue", command.CompleteID)
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
			if err := command.CheckID(o.id); err != nil {
				return err
			}
		}
		if err := checkDespite(o.despite); err != nil {
			return err
		}
		if _, _, err := o.dns.open(); err != nil {
			return err
		}
		p, s, err := a.planStart(cmd.Context(), o)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := a.sayIgnoredOptOuts(p, o); err != nil {
			return err
		}
		if o.dryRun {
			return a.dryRun(cmd.Context(), s, p, o, format)
		}
		return a.begin(cmd.Context(), s, p, o)
	}
	return cmd
}

// sayIgnoredOptOuts warns of opt-outs that the mailing ignores. It refuses a start that ignores
// requests not to get any mail, unless a flag confirms it.
func (a *app) sayIgnoredOptOuts(p plan, o startOptions) error {
	text := workflows.IgnoredOptOuts(p.in.IgnoreOptOuts)
	if o.ignoreAll && !p.in.IgnoresAllOptOuts() {
		return exit.Usagef("--ignore-all-opt-outs: the mailing respects requests not to get any mail: leave the flag out")
	}
	if text == "" {
		return nil
	}
	a.Say("WARNING: ignore_opt_outs: %s", text)
	if p.in.IgnoresAllOptOuts() && !o.ignoreAll && !o.dryRun {
		return exit.Usagef("the mailing goes to people who asked not to get any mail: if the law demands it, " +
			"give --ignore-all-opt-outs. Nothing was started")
	}
	return nil
}

// planStart makes the plan of the mailing, and opens the database.
func (a *app) planStart(ctx context.Context, o startOptions) (plan, *command.Store, error) {
	if o.of.of == "" {
		if len(o.of.outcomes) > 0 {
			return plan{}, nil, exit.Usagef("--outcome needs --continue")
		}
		p, err := a.readMailing(ctx, o.file, o.id)
		if err == nil {
			err = p.undecided()
		}
		if err != nil {
			return plan{}, nil, err
		}
		s, err := command.OpenStore(ctx)
		return p, s, err
	}
	of := o.of
	of.file, of.id = o.file, o.id
	if err := of.check(); err != nil {
		return plan{}, nil, err
	}
	s, err := command.OpenStore(ctx)
	if err != nil {
		return plan{}, nil, err
	}
	p, err := a.planContinuation(ctx, s, of)
	if err != nil {
		s.Close()
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
func (a *app) begin(ctx context.Context, s *command.Store, p plan, o startOptions) error {
	done, err := a.start(ctx, s, p, o)
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
		err = mailing.Watch(ctx, a.App, s, p.in.ID, o.json)
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

// start imports the list and starts the mailing. If its ID is known already, or another command is
// starting a mailing with it, start does nothing.
func (a *app) start(ctx context.Context, s *command.Store, p plan, o startOptions) (done started, err error) {
	c, err := command.Dial(ctx)
	if err != nil {
		return done, err
	}
	defer c.Close()
	err = s.Mailings.Starting(ctx, p.in.ID, func(alone func() error) error {
		done, err = a.startAlone(ctx, s, c, p, o, alone)
		return err
	})
	if errors.Is(err, mailings.ErrStarting) {
		err = exit.Errorf(exit.Exists, "another command is starting mailing %s: see `starter show %s`, or choose "+
			"another ID with --id. Nothing was started", p.in.ID, p.in.ID)
	}
	return done, err
}

// startAlone is start while no other command starts a mailing with the ID. alone tells whether that
// still holds.
func (a *app) startAlone(
	ctx context.Context, s *command.Store, c *temporalclient.Client, p plan, o startOptions, alone func() error,
) (done started, err error) {
	conf, err := command.Settings()
	if err != nil {
		return done, err
	}
	if err := notTaken(ctx, s, c, p.in.ID); err != nil {
		return done, err
	}
	if p.listFile == "" {
		if err := a.checkAudience(ctx, s, p); err != nil {
			return done, err
		}
	}
	tried, err := a.trySample(ctx, s, p)
	if err == nil {
		_, err = a.mayStart(ctx, p, tried, o)
	}
	if err != nil {
		return done, err
	}
	done = started{Mailing: p.in.ID, Audience: p.in.Audience(), WebUI: webUI(conf.WebUI, c, p.in.ID)}
	if p.listFile != "" {
		list, err := listfile.Import(ctx, a.App, s, p.in.List, p.list, true, false)
		if err != nil {
			return done, err
		}
		if slices.ContainsFunc(list.Mapping, listfile.IsRenamed) {
			listfile.Mapping.Render(a.Err, list.Mapping)
		}
		for _, line := range list.Lines(output.Base(p.listFile)) {
			a.Say("%s", line)
		}
		a.Say("list %s: %s", list.Name, list.Describe())
		done.Rejected = list.Rejected
	}
	if err := alone(); err != nil {
		return done, fmt.Errorf("%w. Nothing was started", err)
	}
	return done, startWorkflow(ctx, s, c, conf.TaskQueue, p)
}
