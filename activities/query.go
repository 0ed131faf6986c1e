package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"directmailer/activities/policy"
	"directmailer/internal/lists"
	"directmailer/internal/mailings"
	"directmailer/internal/source"
	"directmailer/workflows"
)

// checkTime is how long a source is given to look at a query when a mailing is opened. It need not be there yet: the query runs when
// the mailing is prepared.
const checkTime = 5 * time.Second

// checkQuery returns the problems of the query, besides those that are known of its fields, and of the templates that name a column which
// it does not have.
func (a *Activities) checkQuery(ctx context.Context, in workflows.Input, known []workflows.Problem) ([]workflows.Problem, error) {
	q := in.Query
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
	var fault *source.Fault
	switch {
	case errors.As(err, &fault):
		return []workflows.Problem{{Field: "query.sql", Message: fault.Text}}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, nil // a source that is away now is asked when the mailing is prepared
	}
	var problems []workflows.Problem
	for _, p := range UnknownFields(in, columns) {
		problems = append(problems, workflows.Problem{Field: p.Field, Message: place(p) + p.Message})
	}
	return problems, nil
}

// freezeQuery keeps the answer of the mailing's query as a list until it is frozen. A mailing that is frozen already asks nobody.
func (a *Activities) freezeQuery(ctx context.Context, m mailings.Mailing, in workflows.Input) (mailings.Frozen, error) {
	if m.PreparedAt == nil {
		if err := a.importQuery(ctx, m.ID, in); err != nil {
			return mailings.Frozen{}, err
		}
	}
	f, err := a.mailings.Freeze(ctx, m.ID, in.BatchSize)
	switch {
	case errors.Is(err, mailings.ErrNoList): // another attempt, or somebody, has dropped it since: it is made anew
		return f, fail(policy.Unexpected, "the answer of the query was dropped before it was frozen")
	case err != nil:
		return f, err
	}
	return f, a.dropAnswer(ctx, m.ID)
}

// importQuery runs the query and keeps its answer as a list, which only this mailing knows. Repeated, it begins anew.
func (a *Activities) importQuery(ctx context.Context, mailing string, in workflows.Input) error {
	q := in.Query
	rows, err := a.sources.Query(ctx, q.Source, q.SQL, time.Duration(q.Timeout))
	if err != nil {
		return err
	}
	defer rows.Close()
	if unknown := UnknownFields(in, rows.Columns()); len(unknown) > 0 { // nobody could look when the mailing was opened, or a table has changed
		p := unknown[0]
		return fail(policy.ListUnusable, "%s: %s%s", p.Field, place(p), p.Message)
	}
	_, err = a.lists.Import(ctx, lists.OfQuery(mailing), mailings.ListOfQuery(q.Source), rows.Columns(), rows, true)
	if !errors.Is(err, lists.ErrEmpty) {
		return err
	}
	if n := rows.Rejected(); n > 0 {
		return fail(policy.ListUnusable, "the query on %s: none of its rows (%d) has a usable address", q.Source, n)
	}
	return fail(policy.ListUnusable, "the query on %s: it answers no row", q.Source)
}

// dropAnswer removes the answer of the mailing's query, if it is there.
func (a *Activities) dropAnswer(ctx context.Context, mailing string) error {
	if err := a.lists.Delete(ctx, lists.OfQuery(mailing)); !errors.Is(err, lists.ErrNotFound) {
		return err
	}
	return nil
}
