package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/mailings"
)

// badAddress are the enhanced status codes (RFC 3463) that say that the address itself is bad, so
// that no later mail can arrive: no such mailbox (5.1.1), the mailbox has moved and left no address
// (5.1.6), the domain accepts no mail (5.1.10). The other codes of class 5.1 are about the sender,
// the route or the syntax.
var badAddress = []string{"5.1.1", "5.1.6", "5.1.10"}

// dropPointAnswers is how many recipients a drop point has answered, and of how many of them it
// said that they do not exist.
type dropPointAnswers struct{ bad, answered int64 }

// trusted tells whether addresses are suppressed on the word of the drop point.
func (a dropPointAnswers) trusted() bool {
	return optouts.Trusted(a.bad, a.answered)
}

// answersByDropPoint are those of each drop point, by name.
type answersByDropPoint map[string]dropPointAnswers

func (a answersByDropPoint) add(more answersByDropPoint) {
	for name, m := range more {
		a[name] = dropPointAnswers{a[name].bad + m.bad, a[name].answered + m.answered}
	}
}

var (
	countAnswers     = statement("close_answers")
	readBadAddresses = statement("close_bad_addresses")
)

// readAnswers reads the answers that are outcomes of the recipients from first to last.
func readAnswers(ctx context.Context, tx pgx.Tx, mailing int64, first, last int32) (answersByDropPoint, error) {
	rows, err := tx.Query(ctx, countAnswers,
		pgx.NamedArgs{"mailing": mailing, "first": first, "last": last, "bad": badAddress})
	found := answersByDropPoint{}
	if err == nil {
		var name string
		var a dropPointAnswers
		_, err = pgx.ForEachRow(rows, []any{&name, &a.bad, &a.answered}, func() error {
			found[name] = a
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("count the answers of each drop point: %w", err)
	}
	return found, nil
}

// suppress keeps addresses that do not exist from later mailings. It looks at as many of the
// recipients at a time as a chunk of Close has, so that memory does not grow with the mailing.
func (l *Ledger) suppress(
	ctx context.Context, tx pgx.Tx, mailing, recipients int64, answers answersByDropPoint,
) (s mailings.Suppression, err error) {
	var trusted []string
	for name, a := range answers {
		switch {
		case a.bad == 0:
		case a.trusted():
			trusted = append(trusted, name)
		default:
			s.Withheld = append(s.Withheld, mailings.Withheld{DropPoint: name, Bad: a.bad, Answered: a.answered})
		}
	}
	slices.SortFunc(s.Withheld, func(a, b mailings.Withheld) int { return strings.Compare(a.DropPoint, b.DropPoint) })
	if len(trusted) == 0 {
		return s, nil
	}
	for first := int64(1); first <= recipients; first += l.chunk {
		last := min(first+l.chunk-1, recipients)
		rows, err := tx.Query(ctx, readBadAddresses, pgx.NamedArgs{
			"mailing": mailing, "first": first, "last": last, "bad": badAddress, "trusted": trusted})
		if err != nil {
			return s, fmt.Errorf("read addresses that do not exist: %w", err)
		}
		bad, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (optouts.Finding, error) {
			f := optouts.Finding{Class: optouts.Hard}
			return f, row.Scan(&f.Key, &f.Code, &f.Mailing)
		})
		if err != nil {
			return s, fmt.Errorf("read addresses that do not exist: %w", err)
		}
		n, err := optouts.SuppressAnswered(ctx, tx, bad)
		if err != nil {
			return s, err
		}
		s.Suppressed += n
	}
	return s, nil
}
