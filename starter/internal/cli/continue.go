package cli

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
	"directmailer/workflows"
)

// continuation is what the user wants to be continued.
type continuation struct {
	of       string   // the earlier mailing's ID
	outcomes []string // of its recipients; unsent if there are none
	id       string   // the new mailing's; found if empty
	file     string   // content and settings; those of the earlier mailing if empty
}

// continuable are the outcomes whose recipients can be taken up by another mailing.
var continuable = []string{string(ledger.Unsent), string(ledger.Failed), string(ledger.Bounced), string(ledger.Uncertain)}

// planContinuation makes the plan of a mailing that goes to recipients of an earlier one, and says how many there are.
func (a *app) planContinuation(ctx context.Context, s *store, c continuation) (plan, error) {
	if err := c.check(); err != nil {
		return plan{}, err
	}
	old, err := s.mailings.Get(ctx, c.of)
	if err != nil {
		return plan{}, notStored(err, c.of)
	}
	if old.ClosedAt == nil {
		return plan{}, failf(NotFound, "mailing %s has not ended, or its workflow was terminated: only a mailing whose ledger is closed can be continued (`starter cancel` or `starter close`)", c.of)
	}
	if err := a.countContinued(ctx, s, old, c.outcomes); err != nil {
		return plan{}, err
	}
	p, err := a.continuedContent(old, c)
	if err != nil {
		return plan{}, err
	}
	p.in.List, p.in.Query, p.in.Resume, p.listFile = "", nil, nil, ""
	p.in.Continue = &workflows.Continuation{Mailing: c.of, Outcomes: c.outcomes}
	if p.in.ID, err = s.continuedID(ctx, old, c); err != nil {
		return plan{}, err
	}
	if err := a.checkContinued(ctx, s, old, p); err != nil {
		return plan{}, err
	}
	return p, nil
}

func (c *continuation) check() error {
	if err := checkID(c.of); err != nil {
		return noMailing(c.of)
	}
	for i, o := range c.outcomes {
		c.outcomes[i] = strings.TrimSpace(o)
		if !slices.Contains(continuable, c.outcomes[i]) {
			return usage("--outcomes: %q is none of %s", printable(o), strings.Join(continuable, ", "))
		}
	}
	if len(c.outcomes) == 0 {
		c.outcomes = []string{string(ledger.Unsent)}
	}
	slices.Sort(c.outcomes)
	c.outcomes = slices.Compact(c.outcomes)
	return nil
}

// countContinued says to how many recipients the new mailing goes; NotFound if there are none.
func (a *app) countContinued(ctx context.Context, s *store, old mailings.Mailing, outcomes []string) error {
	now, err := s.ledger.Progress(ctx, old.Key)
	if err != nil {
		return err
	}
	var all int64
	var parts []string
	for _, o := range outcomes {
		n := recipients.Continuable(now.Counts, o)
		all += n
		parts = append(parts, o+" "+thousands(n))
	}
	if all == 0 {
		return failf(NotFound, "mailing %s has no recipient that is %s: there is nobody to continue with", old.ID, strings.Join(outcomes, " or "))
	}
	a.say("%s of mailing %s (%s): whoever has opted out since is left out", count(all, "recipient"), old.ID, strings.Join(parts, ", "))
	return nil
}

// continuedContent is the earlier mailing's input, or that of a file.
func (a *app) continuedContent(old mailings.Mailing, c continuation) (plan, error) {
	if c.file != "" {
		return a.readContent(c.file, c.id)
	}
	p := plan{name: c.of}
	if err := json.Unmarshal(old.Input, &p.in); err != nil {
		return p, failf(BadInput, "the input of mailing %s, as it is stored, cannot be read: give the content with -f", c.of)
	}
	// They were about the earlier one: to wait for, or to end by, a time that is past would be to no purpose.
	now := time.Now()
	if !p.in.NotBefore.After(now) {
		p.in.NotBefore = time.Time{}
	}
	if !p.in.NotAfter.IsZero() && !p.in.NotAfter.After(now) {
		a.say("its not_after (%s) is past: the new mailing has none", moment(p.in.NotAfter))
		p.in.NotAfter = time.Time{}
	}
	// Limits of drop points and domains are set already; somebody may have changed them since.
	p.in.Rates.DropPoints, p.in.Rates.Domains = nil, nil
	return p, nil
}

// checkContinued checks the new input as a whole, and that the recipients have the fields that it names.
func (a *app) checkContinued(ctx context.Context, s *store, old mailings.Mailing, p plan) error {
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
	columns, err := s.recipients.Columns(ctx, old.Key)
	if err != nil {
		return err
	}
	for _, problem := range content.UnknownFields(p.in, columns) {
		if p.file != nil {
			faults.problem(p.file, problem)
		} else {
			faults.lines = append(faults.lines, problem.Field+": "+problem.Message)
		}
	}
	return faults.report(a)
}

var numbered = regexp.MustCompile(`^(.+)-([1-9][0-9]{0,5})$`)

// continuedID finds the ID of a continuation: newsletter-2, and if that is a continuation as well, newsletter-3. A continuation of the
// same recipients that is there already is most likely this one, started by somebody who got no answer: it is refused, so that nobody
// is sent to twice by a slip. With an ID of its own, a mailing is no slip.
func (s *store) continuedID(ctx context.Context, old mailings.Mailing, c continuation) (string, error) {
	if c.id != "" {
		return c.id, nil
	}
	stem, next := old.ID, 2
	if parts := numbered.FindStringSubmatch(old.ID); parts != nil && strings.HasPrefix(old.List, "continue:") {
		n, _ := strconv.Atoi(parts[2])
		stem, next = parts[1], n+1
	}
	if err := s.notContinued(ctx, old.ID, c.outcomes); err != nil {
		return "", err
	}
	t, err := dial(ctx)
	if err != nil {
		return "", err
	}
	defer t.Close()
	for ; ; next++ {
		id := fmt.Sprintf("%s-%d", stem, next)
		if err := checkID(id); err != nil {
			return "", usage("the ID %s would be too long: give the new mailing one with --id", id)
		}
		_, err := s.mailings.Get(ctx, id)
		switch {
		case err == nil:
			continue
		case !errors.Is(err, mailings.ErrNotFound):
			return "", err
		}
		_, err = t.DescribeWorkflowExecution(ctx, id, "")
		switch {
		case isNotFound(err):
			return id, nil
		case err != nil:
			return "", temporalFailure("see whether an ID is free", err)
		}
		return "", failf(Exists, "mailing %s is started, and no worker has taken it up: it may be this continuation. Nothing was started; --id gives another one a name", id)
	}
}

// notContinued refuses to continue recipients that another mailing continues.
func (s *store) notContinued(ctx context.Context, id string, outcomes []string) error {
	others, err := s.mailings.ByAudience(ctx, "continue:"+id)
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
			return failf(Exists, "mailing %s continues %s already, with those who were %s: continue that one, "+
				"or give a further one a name with --id. Nothing was started", other.ID, id, strings.Join(continued, " or "))
		}
	}
	return nil
}
