package unsubscribe

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/database"
	"directmailer/internal/feedback/events"
	"directmailer/internal/feedback/token"
	"directmailer/internal/mailings"
)

// commit writes the requests of a group, each change once.
func (g *group) commit(jobs []job) error {
	if len(jobs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), groupTime)
	defer cancel()
	// A mailing may have been opened since the last look, with a key that is not here. Its recipients
	// must not be told that they have left.
	if slices.ContainsFunc(jobs, func(j job) bool { return j.who == token.Recipient{} }) {
		if err := g.keys.LookAtLatest(ctx); err != nil {
			return err
		}
	}
	return pgx.BeginTxFunc(ctx, g.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		requests, err := requestsOf(ctx, tx, withoutRepeated(jobs))
		if err != nil {
			return err
		}
		if err := record(ctx, tx, requests); err != nil {
			return err
		}
		// In the order of arrival: somebody may leave, undo that, and leave again.
		for len(requests) > 0 {
			n := 1
			for n < len(requests) && requests[n].undo == requests[0].undo {
				n++
			}
			if err := apply(ctx, tx, requests[:n]); err != nil {
				return err
			}
			requests = requests[n:]
		}
		return nil
	})
}

// withoutRepeated returns the changes of jobs in their order. It leaves out a change that repeats
// the one before it of the same recipient and choice.
func withoutRepeated(jobs []job) (changes []change) {
	type what struct {
		who    token.Recipient
		choice choice
	}
	undone := map[what]bool{}
	for _, j := range jobs {
		w := what{j.who, j.choice}
		if before, ok := undone[w]; !ok || before != j.undo {
			undone[w] = j.undo
			changes = append(changes, j.change)
		}
	}
	return changes
}

// request is a change of a recipient who is there.
type request struct {
	change
	optouts.Request
}

// recipientsQuery looks up each recipient by its whole key: LIMIT forbids other plans. As long as
// PostgreSQL has no statistics of a new mailing, it would read all recipients of the mailing each
// time, because it takes the table for an empty one.
const recipientsQuery = `
	SELECT x.mailing, x.number, r.address_key, m.id, m.origin, m.topic
	FROM unnest($1::bigint[], $2::bigint[]) AS x(mailing, number)
	CROSS JOIN LATERAL (
		SELECT address_key FROM recipients WHERE mailing = x.mailing AND number = x.number LIMIT 1
	) r
	JOIN mailings m ON m.key = x.mailing`

// requestsOf returns the requests of recipients who are there. The others have been deleted with
// their mailing, or were never there.
func requestsOf(ctx context.Context, tx pgx.Tx, changes []change) ([]request, error) {
	of, numbers := make([]int64, len(changes)), make([]int64, len(changes))
	for i, c := range changes {
		of[i], numbers[i] = c.who.Mailing, int64(c.who.Number)
	}
	rows, err := tx.Query(ctx, recipientsQuery, of, numbers)
	if err != nil {
		return nil, err
	}
	there := map[token.Recipient]optouts.Request{}
	var who token.Recipient
	var key, mailing, origin, topic string
	_, err = pgx.ForEachRow(rows, []any{&who.Mailing, &who.Number, &key, &mailing, &origin, &topic}, func() error {
		there[who] = optouts.Request{
			Key: key, Scope: mailings.RequestScope(origin, topic), Reason: optouts.Asked, Mailing: mailing,
		}
		return nil
	})
	var all []request
	for _, c := range changes {
		r, found := there[c.who]
		if c.choice == leaveAll {
			r.Scope = optouts.All
		}
		if found {
			all = append(all, request{c, r})
		}
	}
	return all, err
}

// record writes an event for each recipient who leaves a mailing, however often. It comes before
// the opt-outs, because everybody who writes both locks the mailing's events first.
func record(ctx context.Context, tx pgx.Tx, requests []request) error {
	var all []events.Event
	for _, r := range requests {
		if !r.undo {
			all = append(all, events.Event{
				Recipient: r.who, Class: events.Unsubscribe, Scope: r.Scope, Origin: events.Web, ReportID: "web",
			})
		}
	}
	_, err := events.Record(ctx, tx, all...)
	return err
}

// apply writes requests of one kind. It also adds those whose event was there before: somebody may
// have undone the request since.
func apply(ctx context.Context, tx pgx.Tx, requests []request) (err error) {
	all := make([]optouts.Request, len(requests))
	for i, r := range requests {
		all[i] = r.Request
	}
	if requests[0].undo {
		_, err = optouts.Remove(ctx, tx, all)
	} else {
		_, err = optouts.Add(ctx, tx, all)
	}
	return err
}
