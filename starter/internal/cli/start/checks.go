package start

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/query"
	"directmailer/internal/content/render"
	"directmailer/internal/mailings"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/status"
)

// checkAudience checks an audience that is not a list file.
func (a *app) checkAudience(ctx context.Context, s *command.Store, p plan) error {
	switch {
	case p.in.Query != nil:
		return a.checkQuery(ctx, p)
	case p.in.List != "":
		return a.checkStored(ctx, s, p)
	}
	return nil
}

// checkStored checks that a stored list is there, and has the fields of the templates.
func (a *app) checkStored(ctx context.Context, s *command.Store, p plan) error {
	l, err := s.Lists.Get(ctx, p.in.List)
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

// describeTimeout is how long a source database may take to parse a query.
const describeTimeout = 15 * time.Second

// checkQuery lets the source parse the query, if this shell has the source. Otherwise, and while
// the source does not answer, the workers check it.
func (a *app) checkQuery(ctx context.Context, p plan) error {
	sources, err := knownSources()
	if err != nil || p.file == nil || !sources.Has(p.in.Query.Source) {
		return err
	}
	columns, err := sources.Describe(ctx, p.in.Query.Source, p.in.Query.SQL, describeTimeout)
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
	c, err := command.Settings()
	return query.NewSet(c.Sources), err
}

// signatures returns the names of the keys that DM_DKIM of this shell has for the domain of From,
// and whether the messages will be signed, in words.
func signatures(p plan) (names []string, words string, err error) {
	c, err := command.Settings()
	if err != nil {
		return nil, "", err
	}
	from, err := address.ParseMailbox(p.in.From)
	if err != nil {
		return nil, "", exit.Errorf(exit.BadInput, "%s: from: %w", p.name, err)
	}
	names = c.DKIM.For(from.Address.Domain()).Names()
	switch {
	case len(c.DKIM) == 0:
		words = "not known: DM_DKIM is not set in this shell"
	case len(names) == 0:
		words = "no: DM_DKIM has no key for " + from.Address.Domain()
	default:
		words = strings.Join(names, ", ")
	}
	return names, words, nil
}

// notTaken refuses an ID that the database or Temporal knows.
func notTaken(ctx context.Context, s *command.Store, c client.Client, id string) error {
	_, err := s.Mailings.Get(ctx, id)
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
	return command.TemporalFailure("see whether the ID is free", err)
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
