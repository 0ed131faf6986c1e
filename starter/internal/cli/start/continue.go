package start

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"directmailer/internal/audience/recipients"
	"directmailer/internal/content"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

// continuation is what the user asks to continue.
type continuation struct {
	of       string   // the earlier mailing's ID
	outcomes []string // of its recipients; unsent if there are none
	id       string   // of the new mailing; if empty, one is derived
	file     string   // content and settings; if empty, those of the earlier mailing
}

var continuable = workflows.ContinuableOutcomes()

// planContinuation makes the plan of a mailing to recipients of an earlier one. It says how many
// there are.
func (a *app) planContinuation(ctx context.Context, s *command.Store, c continuation) (plan, error) {
	if err := c.check(); err != nil {
		return plan{}, err
	}
	old, err := s.Mailings.Get(ctx, c.of)
	if err != nil {
		return plan{}, command.NotFound(err, c.of)
	}
	if old.Test {
		return plan{}, exit.Errorf(exit.NotFound, "%s is a test: only a mailing can be continued; send the test again", c.of)
	}
	if old.ClosedAt == nil {
		return plan{}, exit.Errorf(exit.NotFound, "mailing %s has not ended, or its workflow was terminated: "+
			"only a mailing whose ledger is closed can be continued (`starter cancel` or `starter close`)", c.of)
	}
	if err := a.countContinued(ctx, s, old, c.outcomes); err != nil {
		return plan{}, err
	}
	p, err := a.continuedContent(ctx, old, c)
	if err != nil {
		return plan{}, err
	}
	p.in.List, p.in.Query, p.in.Resume, p.listFile = "", nil, nil, ""
	p.in.Continue = &workflows.Continuation{Mailing: c.of, Outcomes: c.outcomes}
	if p.in.ID, err = continuedID(ctx, s, old, c); err != nil {
		return plan{}, err
	}
	if err := a.checkContinued(ctx, s, old, p); err != nil {
		return plan{}, err
	}
	return p, nil
}

func (c *continuation) check() error {
	if err := command.CheckID(c.of); err != nil {
		return err
	}
	for i, o := range c.outcomes {
		c.outcomes[i] = strings.TrimSpace(o)
		if !slices.Contains(continuable, c.outcomes[i]) {
			return exit.Usagef("--outcome: %q is not one of %s", output.Typed(o), strings.Join(continuable, ", "))
		}
	}
	if len(c.outcomes) == 0 {
		c.outcomes = []string{string(ledger.Unsent)}
	}
	slices.Sort(c.outcomes)
	c.outcomes = slices.Compact(c.outcomes)
	return nil
}

// countContinued says to how many recipients the new mailing goes. None is an error.
func (a *app) countContinued(ctx context.Context, s *command.Store, old mailings.Mailing, outcomes []string) error {
	now, err := s.Ledger.Progress(ctx, old.Key)
	if err != nil {
		return err
	}
	var all int64
	var parts []string
	for _, o := range outcomes {
		n := recipients.Continuable(now.Counts, o)
		all += n
		parts = append(parts, o+" "+output.Thousands(n))
	}
	if all == 0 {
		return exit.Errorf(
			exit.NotFound,
			"mailing %s has no recipient that is %s: there is nothing to continue",
			old.ID,
			strings.Join(outcomes, " or "),
		)
	}
	a.Say(
		"%s of mailing %s (%s); the mailing leaves out those who have opted out since",
		output.Count(all, "recipient"),
		old.ID,
		strings.Join(parts, ", "),
	)
	return nil
}

// continuedContent is the earlier mailing's input, or that of a file.
func (a *app) continuedContent(ctx context.Context, old mailings.Mailing, c continuation) (plan, error) {
	if c.file != "" {
		return a.readContent(ctx, c.file, c.id)
	}
	p := plan{name: c.of}
	if err := json.Unmarshal(old.Input, &p.in); err != nil {
		return p, exit.Errorf(
			exit.BadInput,
			"the stored input of mailing %s cannot be read: give the content with -f",
			c.of,
		)
	}
	// The times were for the earlier mailing. A time that is past has no use for the new one.
	now := time.Now()
	if !p.in.NotBefore.After(now) {
		p.in.NotBefore = time.Time{}
	}
	if !p.in.NotAfter.IsZero() && !p.in.NotAfter.After(now) {
		a.Say("its not_after (%s) is past: the new mailing has none", output.Moment(p.in.NotAfter))
		p.in.NotAfter = time.Time{}
	}
	return p, nil
}

// checkContinued checks the new input as a whole, and that the recipients have the fields that it
// names.
func (a *app) checkContinued(ctx context.Context, s *command.Store, old mailings.Mailing, p plan) error {
	faults := faultList{name: p.name}
	problems := p.in.Validate()
	if len(problems) == 0 {
		for _, problem := range content.Check(p.in) {
			problems = append(problems, workflows.Problem{Field: problem.Field, Message: problem.Message})
		}
	}
	for _, problem := range problems {
		faults.lines = append(faults.lines, problem.String())
	}
	columns, err := s.Recipients.Columns(ctx, old.Key)
	if err != nil {
		return err
	}
	faults.fields(p, columns)
	return faults.report(a)
}

// outcomesOf returns the outcomes of the recipients that are continued.
func outcomesOf(c workflows.Continuation) (outcomes []ledger.Status) {
	for _, o := range c.Outcomes {
		outcomes = append(outcomes, ledger.Status(o))
	}
	return outcomes
}

var numbered = regexp.MustCompile(`^(.+)-([1-9][0-9]{0,5})$`)

// continuedID derives the ID of a continuation: newsletter-2, or newsletter-3 if that is a
// continuation as well. It refuses a second continuation of the same recipients, because that is
// most likely a repetition by somebody who got no answer. With an ID of its own a second
// continuation is allowed.
func continuedID(ctx context.Context, s *command.Store, old mailings.Mailing, c continuation) (string, error) {
	if c.id != "" {
		return c.id, nil
	}
	stem, next := old.ID, 2
	if parts := numbered.FindStringSubmatch(old.ID); parts != nil && strings.HasPrefix(old.List, "continue:") {
		n, _ := strconv.Atoi(parts[2])
		stem, next = parts[1], n+1
	}
	if err := notContinued(ctx, s, old.ID, c.outcomes); err != nil {
		return "", err
	}
	t, err := command.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer t.Close()
	for ; ; next++ {
		id := fmt.Sprintf("%s-%d", stem, next)
		if err := command.CheckID(id); err != nil {
			return "", exit.Usagef("the ID %s is too long: give the new mailing an ID with --id", id)
		}
		_, err := s.Mailings.Get(ctx, id)
		switch {
		case err == nil:
			continue
		case !errors.Is(err, mailings.ErrNotFound):
			return "", err
		}
		known, err := t.DescribeWorkflowExecution(ctx, id, "")
		switch {
		case status.IsNotFound(err):
			return id, nil
		case err != nil:
			return "", command.TemporalFailure("see whether an ID is free", err)
		case !status.IsOpen(known.WorkflowExecutionInfo.GetStatus()):
			// It failed before it was opened. Or the database has lost it, and it was sent.
			return "", exit.Errorf(
				exit.Exists,
				"mailing %s has ended (%s), and the database does not have it: see `starter show %s`. "+
					"Nothing was started. Give another one an ID with --id",
				id,
				status.EndOf(ctx, t, known.WorkflowExecutionInfo),
				id,
			)
		}
		return "", exit.Errorf(
			exit.Exists,
			"mailing %s is started, and no worker has taken it up: it may be this continuation. "+
				"Nothing was started. Give another one an ID with --id",
			id,
		)
	}
}

// notContinued refuses to continue recipients that another mailing continues already.
func notContinued(ctx context.Context, s *command.Store, id string, outcomes []string) error {
	others, err := s.Mailings.ByAudience(ctx, "continue:"+id)
	if err != nil {
		return err
	}
	for _, other := range others {
		var in workflows.Input
		if json.Unmarshal(other.Input, &in) != nil || in.Continue == nil {
			continue
		}
		continued := in.WithDefaults().Continue.Outcomes
		if slices.ContainsFunc(continued, func(o string) bool { return slices.Contains(outcomes, o) }) {
			return exit.Errorf(
				exit.Exists,
				"mailing %s already continues the %s recipients of %s: continue that one, "+
					"or give the new one an ID with --id. Nothing was started",
				other.ID,
				strings.Join(continued, " or "),
				id,
			)
		}
	}
	return nil
}
