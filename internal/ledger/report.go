package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Open is the outcome of a recipient that has none yet.
const Open Status = "open"

// Line is a recipient in a report: who, and what became of the mail.
type Line struct {
	Number  int32
	Address string
	// Outcome is that of the final delivery, or Open.
	Outcome Status
	// Attempts counts the attempts so far, PossiblyTwice tells that one came after an uncertain one.
	Attempts      int32
	PossiblyTwice bool
	DropPoint     string
	Code          int16
	Enhanced      string
	Reply         string
	At            *time.Time // of the latest delivery; nil when there is none
}

// Report calls each for every recipient of the mailing, in order, while it reads: memory does not grow with the mailing. With
// outcomes given, only for recipients that have one of them.
func (l *Ledger) Report(ctx context.Context, mailing int64, outcomes []Status, each func(Line) error) error {
	wanted := make([]string, len(outcomes))
	for i, o := range outcomes {
		wanted[i] = string(o)
	}
	rows, err := l.pool.Query(ctx, `
		SELECT r.number, r.address, CASE WHEN d.final THEN d.status::text ELSE 'open' END, coalesce(d.attempts, 0), coalesce(d.twice, false),
			coalesce(d.drop_point, ''), coalesce(d.code, 0), coalesce(d.enhanced, ''), coalesce(d.reply, ''), coalesce(d.answered_at, d.at)
		FROM recipients r
		LEFT JOIN LATERAL (
			SELECT *, max(attempt) OVER () AS attempts, bool_or(possibly_twice AND status NOT IN ('intent', 'not_sent', 'deferred', 'refused')) OVER () AS twice
			FROM deliveries WHERE mailing = r.mailing AND recipient = r.number
			ORDER BY final DESC, attempt DESC LIMIT 1) d ON true
		WHERE r.mailing = $1 AND ($2::text[] = '{}' OR CASE WHEN d.final THEN d.status::text ELSE 'open' END = ANY($2))
		ORDER BY r.number`, mailing, wanted)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var x Line
		if err := rows.Scan(&x.Number, &x.Address, &x.Outcome, &x.Attempts, &x.PossiblyTwice, &x.DropPoint, &x.Code, &x.Enhanced, &x.Reply, &x.At); err != nil {
			return fmt.Errorf("read a line of the ledger: %w", err)
		}
		if err := each(x); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

// Standing is how far a mailing is, from the counters of its batches.
type Standing struct {
	Counts           Counts // of closed batches, and those who opted out before
	Rendered, Closed int    // batches
	// Deferred recipients wait for a later round; the first of them is due at NextRound.
	Deferred  int
	NextRound *time.Time
}

// Standing reads counters only and may be asked as often as one likes. For an ended mailing it is the reconciled result.
func (l *Ledger) Standing(ctx context.Context, mailing int64) (Standing, error) {
	var s Standing
	var counts []byte
	var frozenOut int64
	n := &s.Counts
	err := l.pool.QueryRow(ctx, `
		SELECT m.counts, m.recipients - m.mailable, count(b.rendered_at), count(b.closed_at),
			coalesce(sum(b.sent) FILTER (WHERE b.closed_at IS NOT NULL), 0), coalesce(sum(b.bounced) FILTER (WHERE b.closed_at IS NOT NULL), 0),
			coalesce(sum(b.failed) FILTER (WHERE b.closed_at IS NOT NULL), 0), coalesce(sum(b.opted_out) FILTER (WHERE b.closed_at IS NOT NULL), 0),
			coalesce(sum(b.uncertain) FILTER (WHERE b.closed_at IS NOT NULL), 0), coalesce(sum(b.unsent) FILTER (WHERE b.closed_at IS NOT NULL), 0),
			coalesce(sum(b.possibly_twice) FILTER (WHERE b.closed_at IS NOT NULL), 0),
			(SELECT count(*) FROM deferrals d WHERE d.mailing = m.key), (SELECT min(due) FROM deferrals d WHERE d.mailing = m.key)
		FROM mailings m LEFT JOIN batches b ON b.mailing = m.key WHERE m.key = $1 GROUP BY m.key`, mailing).
		Scan(&counts, &frozenOut, &s.Rendered, &s.Closed, &n.Sent, &n.Bounced, &n.Failed, &n.OptedOut, &n.Uncertain, &n.Unsent, &n.PossiblyTwice, &s.Deferred, &s.NextRound)
	if err == pgx.ErrNoRows {
		return s, ErrNoBatch
	}
	if err != nil {
		return s, fmt.Errorf("read the batches' counters: %w", err)
	}
	n.OptedOut += frozenOut
	if counts != nil {
		*n = Counts{}
		if err := json.Unmarshal(counts, n); err != nil {
			return s, fmt.Errorf("read the mailing's counts: %w", err)
		}
	}
	return s, nil
}
