package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"directmailer/internal/audience/query"
	"directmailer/internal/content"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// checkTime is how long a source is given to look at a query when a mailing is opened. It need not be there yet: the query runs when
// the mailing is prepared.
const checkTime = 5 * time.Second

// checkQuery returns the problems of the query, besides those that are known of its fields.
func (a *Activities) checkQuery(ctx context.Context, in workflows.Input, known []workflows.Problem) ([]workflows.Problem, error) {
	q := *in.Query
	if slices.ContainsFunc(known, func(p workflows.Problem) bool { return strings.HasPrefix(p.Field, "query") }) {
		return nil, nil
	}
	if !a.sources.Has(q.Source) {
		have := strings.Join(a.sources.Names(), ", ")
		if have == "" {
			have = "none (DM_SOURCES)"
		}
		return []workflows.Problem{{Field: "query.source", Message: fmt.Sprintf("no source database is named %q; the workers have: %s", q.Source, have)}}, nil
	}
	short, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	columns, err := a.sources.Describe(short, q.Source, q.SQL, checkTime)
	var fault *query.Fault
	switch {
	case errors.As(err, &fault):
		return []workflows.Problem{{Field: "query.sql", Message: fault.Text}}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, nil // a source that is away now is asked again
	}
	return unknownFields(in, columns), nil
}

// unknownFields are the problems of templates that name fields which the answer does not have.
func unknownFields(in workflows.Input, columns []string) (problems []workflows.Problem) {
	for _, p := range content.UnknownFields(in, columns) {
		problems = append(problems, workflows.Problem{Field: p.Field, Message: place(p) + p.Message})
	}
	return problems
}

// freezeQuery runs the query and freezes its answer. Whoever does so at the same time asks as well, and whoever is first has frozen it.
func (a *Activities) freezeQuery(ctx context.Context, mailing string, in workflows.Input) (mailings.Frozen, error) {
	q := *in.Query
	rows, err := a.sources.Query(ctx, q.Source, q.SQL, time.Duration(q.Timeout))
	if err != nil {
		return mailings.Frozen{}, err
	}
	defer rows.Close()
	if problems := unknownFields(in, rows.Columns()); len(problems) > 0 { // the source was away when the mailing was opened, or has changed
		return mailings.Frozen{}, fail(policy.ListUnusable, "the query on %s does not have what the templates need: %s", q.Source, sentence(problems))
	}
	f, err := a.mailings.FreezeAnswer(ctx, mailing, rows, in.BatchSize)
	switch {
	case !errors.Is(err, mailings.ErrEmptyList):
		return f, err
	case rows.Rejected() > 0:
		first := rows.Rejects()[0]
		return f, fail(policy.ListUnusable, "the query on %s: none of its rows (%d) has a usable address: row %d: %s", q.Source, rows.Rejected(), first.Row, first.Reason)
	}
	return f, fail(policy.ListUnusable, "the query on %s: it answers no row", q.Source)
}
