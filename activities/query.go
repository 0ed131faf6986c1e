package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"directmailer/internal/audience/query"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/content"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// checkTime is the time in which a source database must describe a query when a mailing is opened.
// The source may be unavailable then: the query runs when the mailing is prepared.
const checkTime = 5 * time.Second

// checkQuery returns the problems of the query. It does not check a query whose fields have
// problems.
func (a *Activities) checkQuery(
	ctx context.Context, in workflows.Input, known []workflows.Problem,
) ([]workflows.Problem, error) {
	q := *in.Query
	ofQuery := func(p workflows.Problem) bool { return strings.HasPrefix(p.Field, "query") }
	if slices.ContainsFunc(known, ofQuery) {
		return nil, nil
	}
	if !a.sources.Has(q.Source) {
		have := strings.Join(a.sources.Names(), ", ")
		if have == "" {
			have = "none (DM_SOURCES)"
		}
		message := fmt.Sprintf("no source database is named %q; the workers have: %s", q.Source, have)
		return []workflows.Problem{{Field: "query.source", Message: message}}, nil
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
		return nil, nil // PrepareList asks a source again that is unavailable now
	}
	return unknownFields(in, columns), nil
}

// readStoredQuery puts the statement of a stored query into the input. The mailing's row has the
// statement from then on.
func (a *Activities) readStoredQuery(ctx context.Context, in *workflows.Input) ([]workflows.Problem, error) {
	if in.Query == nil || in.Query.Stored == "" || in.Query.SQL != "" {
		return nil, nil
	}
	q := *in.Query
	sql, err := a.mailings.StoredQuery(ctx, q.Stored)
	if errors.Is(err, mailings.ErrNotFound) {
		return []workflows.Problem{{
			Field: "query.stored", Message: "the database has no such query: give its text as sql",
		}}, nil
	}
	q.SQL, q.Stored = sql, ""
	in.Query = &q
	return nil, err
}

// unknownFields returns a problem for each field of a template that is no column of the query's
// result.
func unknownFields(in workflows.Input, columns []string) (problems []workflows.Problem) {
	for _, p := range content.UnknownFields(in, columns) {
		problems = append(problems, workflows.Problem{Field: p.Field, Message: place(p) + p.Message})
	}
	return problems
}

// freezeQuery runs the query and freezes its result. If two attempts run at the same time, both run
// the query, and the first one freezes its result.
func (a *Activities) freezeQuery(ctx context.Context, mailing string, in workflows.Input) (mailings.Frozen, error) {
	q := *in.Query
	rows, err := a.sources.Query(ctx, q.Source, q.SQL, time.Duration(q.Timeout))
	if err != nil {
		return mailings.Frozen{}, err
	}
	defer rows.Close()
	// The source was unavailable when the mailing was opened, or has changed since.
	if problems := unknownFields(in, rows.Columns()); len(problems) > 0 {
		return mailings.Frozen{}, failf(policy.ListUnusable,
			"the query on %s lacks columns that the templates need: %s", q.Source, sentence(problems))
	}
	f, err := a.recipients.FreezeAnswer(ctx, mailing, rows, in.BatchSize)
	if n := rows.Pasted(); n > 0 {
		a.log.WarnContext(ctx, "took quotation marks, bullets, dashes or invisible characters off addresses",
			"mailing", mailing, "rows", n)
	}
	switch {
	case !errors.Is(err, recipients.ErrEmptyList):
		return f, err
	case rows.Rejected() > 0:
		first := rows.Rejects()[0]
		return f, failf(policy.ListUnusable, "the query on %s: none of its rows (%d) has a usable address: row %d: %s",
			q.Source, rows.Rejected(), first.Position, first.Reason)
	}
	return f, failf(policy.ListUnusable, "the query on %s returns no rows", q.Source)
}
