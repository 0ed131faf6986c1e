package mailings

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/member"
	"directmailer/internal/counts"
	"directmailer/internal/database"
)

// Frozen says what became of an audience: a list, the answer of a query, or the recipients that an
// earlier mailing has left.
type Frozen struct {
	Members    int64 // rows of the audience
	Duplicates int64 // rows that repeat the address of an earlier row
	Recipients int64 // addresses
	OptedOut   int64 // recipients that must not be mailed
	Batches    int
	// Rejected counts the rows of a query that could not be used. A file's were left out when it
	// was imported.
	Rejected int64
	Rejects  []member.Reject // the first of them
}

// Mailable is the number of recipients that go into batches.
func (f Frozen) Mailable() int64 { return f.Recipients - f.OptedOut }

// LockByID returns the mailing with the ID and locks its row until the transaction ends, or returns
// ErrNotFound.
func LockByID(ctx context.Context, tx pgx.Tx, id string) (Mailing, error) {
	return one(ctx, tx, `WHERE id = $1 FOR UPDATE`, id)
}

// ShareByID does what [LockByID] does with a lock that others can share. Nobody can change the row.
func ShareByID(ctx context.Context, tx pgx.Tx, id string) (Mailing, error) {
	return one(ctx, tx, `WHERE id = $1 FOR SHARE`, id)
}

// SetFrozen writes down that the audience is frozen: the mailing's state is now "sending".
func SetFrozen(ctx context.Context, tx pgx.Tx, key int64, f Frozen) error {
	var rejects *string // NULL without any
	if f.Rejects != nil {
		text, err := database.JSON(f.Rejects)
		if err != nil {
			return err
		}
		rejects = &text
	}
	_, err := tx.Exec(ctx, `
		UPDATE mailings SET prepared_at = now(), state = 'sending', members = @members, duplicates = @duplicates,
			recipients = @recipients, mailable = @mailable, batches = @batches, rejected = @rejected, rejects = @rejects
		WHERE key = @key`,
		pgx.NamedArgs{
			"key": key, "members": f.Members, "duplicates": f.Duplicates, "recipients": f.Recipients,
			"mailable": f.Mailable(), "batches": f.Batches, "rejected": f.Rejected, "rejects": rejects,
		})
	return err
}

// Lock locks the mailing's row until the transaction ends. It returns the revision of the outcomes,
// and whether the mailing has ended. It returns ErrNotFound if there is no such mailing.
func Lock(ctx context.Context, tx pgx.Tx, key int64) (revision int64, ended bool, err error) {
	err = tx.QueryRow(ctx, `SELECT revision, closed_at IS NOT NULL FROM mailings WHERE key = $1 FOR UPDATE`, key).
		Scan(&revision, &ended)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return revision, ended, err
}

// AddBatches raises the number of the mailing's batches by n.
func AddBatches(ctx context.Context, tx pgx.Tx, key int64, n int) error {
	_, err := tx.Exec(ctx, `UPDATE mailings SET batches = batches + $2 WHERE key = $1`, key, n)
	return err
}

// Revise announces a change of outcomes that may be counted already: it raises the revision, so
// that a transaction that counts them notices, and locks the row until the transaction ends. It
// returns whether the mailing is ending or has ended, and its counts if it has ended. It returns
// ErrNotFound if there is no such mailing.
func Revise(ctx context.Context, tx pgx.Tx, key int64) (ending bool, stored *counts.Counts, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE mailings SET revision = revision + 1 WHERE key = $1
		RETURNING ending OR closed_at IS NOT NULL, counts`, key).Scan(&ending, &stored)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return ending, stored, err
}

// SetCounts replaces the counts of a mailing that has ended.
func SetCounts(ctx context.Context, tx pgx.Tx, key int64, n counts.Counts) error {
	text, err := database.JSON(n)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE mailings SET counts = $2 WHERE key = $1`, key, text)
	return err
}

// BeginEnding marks a mailing that ends before it is complete. From now on nobody is added to it.
func BeginEnding(ctx context.Context, tx pgx.Tx, key int64) error {
	_, err := tx.Exec(ctx, `UPDATE mailings SET ending = true WHERE key = $1`, key)
	return err
}

// End is how a mailing ends.
type End struct {
	State, Reason string
	Counts        counts.Counts
	Suppression   Suppression
}

// SetEnded writes down the end of a mailing. A mailing that has ended keeps its first end.
func SetEnded(ctx context.Context, tx pgx.Tx, key int64, e End) error {
	counts, err := database.JSON(e.Counts)
	if err != nil {
		return err
	}
	suppression, err := database.JSON(e.Suppression)
	if err != nil {
		return err
	}
	_, err = tx.Exec(
		ctx,
		`
		UPDATE mailings SET state = @state, reason = @reason, counts = @counts, suppression = @suppression,
			closed_at = now()
		WHERE key = @key AND closed_at IS NULL`,
		pgx.NamedArgs{
			"key":         key,
			"state":       e.State,
			"reason":      e.Reason,
			"counts":      counts,
			"suppression": suppression,
		},
	)
	return err
}
