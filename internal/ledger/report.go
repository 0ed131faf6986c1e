package ledger

import (
	"context"
	"encoding/json"
	"errors"
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

// Standing is how far a mailing is.
type Standing struct {
	Counts           Counts // of all who have their outcome
	Rendered, Closed int    // batches
	// Deferred recipients wait for a later round; the first of them is due at NextRound.
	Deferred  int
	NextRound *time.Time
}

// finals counts outcomes. Who has got two is known for certain only when the batch is closed.
var finals = ofBatch(`
	SELECT count(*) FILTER (WHERE status = 'sent'), count(*) FILTER (WHERE status = 'bounced'), count(*) FILTER (WHERE status = 'failed'),
		count(*) FILTER (WHERE status = 'opted_out'), count(*) FILTER (WHERE status = 'uncertain'), count(*) FILTER (WHERE status = 'unsent'),
		count(*) FILTER (WHERE possibly_twice)
	FROM deliveries WHERE mailing = $1 AND recipient OF_BATCH AND final`)

// Standing reads the counters of closed batches, and the rows of those that are being sent: it costs the same however large the mailing is. For
// an ended mailing it is the reconciled result. ErrNoBatch: there is no such mailing.
func (l *Ledger) Standing(ctx context.Context, mailing int64) (Standing, error) {
	var s Standing
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly} // no batch is closed between its counter and its rows
	err := pgx.BeginTxFunc(ctx, l.pool, snapshot, func(tx pgx.Tx) error {
		ended, err := s.readCounters(ctx, tx, mailing)
		if err != nil || ended {
			return err
		}
		spans, err := underWay(ctx, tx, mailing)
		if err != nil {
			return err
		}
		var batch pgx.Batch
		for _, span := range spans {
			batch.Queue(finals.of(span), mailing, span.numbers()).QueryRow(func(row pgx.Row) error {
				var n Counts
				err := row.Scan(&n.Sent, &n.Bounced, &n.Failed, &n.OptedOut, &n.Uncertain, &n.Unsent, &n.PossiblyTwice)
				s.Counts = s.Counts.add(n)
				return err
			})
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return s, ErrNoBatch
	}
	if err != nil {
		return s, fmt.Errorf("read how far the mailing is: %w", err)
	}
	return s, nil
}

// readCounters reads the counters of closed batches, or of the ended mailing.
func (s *Standing) readCounters(ctx context.Context, tx pgx.Tx, mailing int64) (ended bool, err error) {
	var counts []byte
	var frozenOut int64
	n := &s.Counts
	err = tx.QueryRow(ctx, `
		SELECT m.counts, m.recipients - m.mailable, count(b.rendered_at), count(b.closed_at),
			coalesce(sum(b.sent) FILTER (WHERE b.closed_at IS NOT NULL), 0), coalesce(sum(b.bounced) FILTER (WHERE b.closed_at IS NOT NULL), 0),
			coalesce(sum(b.failed) FILTER (WHERE b.closed_at IS NOT NULL), 0), coalesce(sum(b.opted_out) FILTER (WHERE b.closed_at IS NOT NULL), 0),
			coalesce(sum(b.uncertain) FILTER (WHERE b.closed_at IS NOT NULL), 0), coalesce(sum(b.unsent) FILTER (WHERE b.closed_at IS NOT NULL), 0),
			coalesce(sum(b.possibly_twice) FILTER (WHERE b.closed_at IS NOT NULL), 0),
			(SELECT count(*) FROM deferrals d WHERE d.mailing = m.key), (SELECT min(due) FROM deferrals d WHERE d.mailing = m.key)
		FROM mailings m LEFT JOIN batches b ON b.mailing = m.key WHERE m.key = $1 GROUP BY m.key`, mailing).
		Scan(&counts, &frozenOut, &s.Rendered, &s.Closed, &n.Sent, &n.Bounced, &n.Failed, &n.OptedOut, &n.Uncertain, &n.Unsent, &n.PossiblyTwice, &s.Deferred, &s.NextRound)
	if err != nil {
		return false, err
	}
	n.OptedOut += frozenOut
	if counts == nil {
		return false, nil
	}
	*n = Counts{}
	return true, json.Unmarshal(counts, n)
}

// underWay are the recipients of the batches that somebody has begun to send.
func underWay(ctx context.Context, tx pgx.Tx, mailing int64) ([]Span, error) {
	rows, err := tx.Query(ctx, `SELECT first, last, members FROM batches WHERE mailing = $1 AND closed_at IS NULL AND fence > 0`, mailing)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Span, err error) {
		return s, row.Scan(&s.First, &s.Last, &s.Members)
	})
}
