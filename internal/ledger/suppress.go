package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// An enhanced status code that says that the address itself is bad, so that no later mail can arrive:
// no such mailbox (5.1.1), the mailbox has moved and left no address (5.1.6), the domain accepts no mail
// (5.1.10). The other codes of class 5.1 are about the sender, the route or the syntax.
var badAddress = []string{"5.1.1", "5.1.6", "5.1.10"}

// A drop point that says of more than MaxBadShare of its recipients, of whom it has at least MinAnswered,
// that they do not exist, rather has a broken recipient map: nobody is suppressed on its word.
const (
	MaxBadShare = 0.05
	MinAnswered = 100
)

// Suppression says what the end of a mailing has done about addresses that do not exist.
type Suppression struct {
	// Suppressed addresses are kept from later mailings; those that were already are not counted.
	Suppressed int64 `json:"suppressed"`
	// Withheld lists the drop points on whose word nobody was suppressed, by name.
	Withheld []Withheld `json:"withheld,omitempty"`
}

// Withheld is a drop point that said of too many recipients that they do not exist.
type Withheld struct {
	DropPoint string `json:"drop_point"`
	Bad       int64  `json:"bad"`      // recipients that do not exist, in its words
	Answered  int64  `json:"answered"` // recipients that it accepted, or refused for good
}

// Share is the part of the answered recipients that do not exist, from 0 to 1.
func (w Withheld) Share() float64 { return float64(w.Bad) / float64(w.Answered) }

// Suppression returns what the end of the mailing has done about addresses that do not exist; nothing if the
// mailing has not ended. ErrNoBatch: there is no such mailing.
func (l *Ledger) Suppression(ctx context.Context, mailing int64) (s Suppression, err error) {
	err = l.pool.QueryRow(ctx, `SELECT coalesce(suppression, '{}') FROM mailings WHERE key = $1`, mailing).Scan(&s)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, ErrNoBatch
	}
	if err != nil {
		return s, fmt.Errorf("read the suppressed addresses: %w", err)
	}
	return s, nil
}

// verdict is how many recipients a drop point has answered, and of how many it said that they do not exist.
type verdict struct{ bad, answered int64 }

func (v verdict) withheld() bool {
	return v.answered >= MinAnswered && float64(v.bad) > MaxBadShare*float64(v.answered)
}

// verdicts are those of each drop point, by name.
type verdicts map[string]verdict

func (v verdicts) add(more verdicts) {
	for name, m := range more {
		v[name] = verdict{v[name].bad + m.bad, v[name].answered + m.answered}
	}
}

// readVerdicts reads the answers that are outcomes of the recipients from first to last.
func readVerdicts(ctx context.Context, tx pgx.Tx, mailing int64, first, last int32) (verdicts, error) {
	rows, err := tx.Query(ctx, `
		SELECT coalesce(drop_point, ''), count(*) FILTER (WHERE status = 'bounced' AND enhanced = ANY($4)), count(*)
		FROM deliveries WHERE mailing = $1 AND recipient BETWEEN $2 AND $3 AND final AND status IN ('sent', 'bounced')
		GROUP BY 1`, mailing, first, last, badAddress)
	if err != nil {
		return nil, fmt.Errorf("count the answers of each drop point: %w", err)
	}
	found := verdicts{}
	var name string
	var v verdict
	if _, err = pgx.ForEachRow(rows, []any{&name, &v.bad, &v.answered}, func() error { found[name] = v; return nil }); err != nil {
		return nil, fmt.Errorf("count the answers of each drop point: %w", err)
	}
	return found, nil
}

// suppress keeps addresses that do not exist from later mailings. What is suppressed already stays as it is, a
// person's request above all.
func suppress(ctx context.Context, tx pgx.Tx, mailing int64, v verdicts) (s Suppression, err error) {
	var trusted []string
	for name, v := range v {
		switch {
		case v.bad == 0:
		case v.withheld():
			s.Withheld = append(s.Withheld, Withheld{DropPoint: name, Bad: v.bad, Answered: v.answered})
		default:
			trusted = append(trusted, name)
		}
	}
	slices.SortFunc(s.Withheld, func(a, b Withheld) int { return strings.Compare(a.DropPoint, b.DropPoint) })
	if len(trusted) == 0 {
		return s, nil
	}
	// The address is a scalar subquery, so that it is a look-up for each bounce and not a join with all recipients.
	tag, err := tx.Exec(ctx, `
		INSERT INTO opt_outs (address_key, reason, mailing)
		SELECT (SELECT address_key FROM recipients WHERE mailing = d.mailing AND number = d.recipient), d.enhanced,
			(SELECT id FROM mailings WHERE key = d.mailing)
		FROM deliveries d
		WHERE d.mailing = $1 AND d.final AND d.status = 'bounced' AND d.enhanced = ANY($2) AND coalesce(d.drop_point, '') = ANY($3)
		ON CONFLICT DO NOTHING`, mailing, badAddress, trusted)
	if err != nil {
		return s, fmt.Errorf("keep addresses that do not exist from later mailings: %w", err)
	}
	s.Suppressed = tag.RowsAffected()
	return s, nil
}
