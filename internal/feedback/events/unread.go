package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
	"directmailer/internal/feedback/token"
)

// Reports that nobody could read are kept for UnreadTime, at most MaxUnread of them, each cut to
// MaxUnreadSize octets.
const (
	UnreadTime    = 30 * 24 * time.Hour
	MaxUnread     = 1000
	MaxUnreadSize = 64 << 10

	// maxUnreadEach is how many are kept of one recipient, who could send any number of them.
	maxUnreadEach = 5
)

// Unread is a report about a recipient that nobody could read. It does nothing: a person may look
// at it.
type Unread struct {
	Key        int64
	Mailing    string // ID
	Recipient  int32
	Address    string
	Origin     Origin
	ReceivedAt time.Time
	Size       int64  // of the whole message, in octets
	Content    []byte // its beginning
}

var (
	keepUnread  = statement("keep")
	pruneUnread = statement("prune")
	readUnread  = statement("unread")
)

// Keep keeps a message that reports something about a recipient and cannot be read, as one step of
// the caller's transaction. The same report is kept once.
func Keep(ctx context.Context, tx pgx.Tx, e Event, content []byte, size int64) error {
	content = bytes.Clone(content[:min(len(content), MaxUnreadSize)])
	_, err := tx.Exec(ctx, keepUnread, pgx.NamedArgs{
		"mailing": e.Recipient.Mailing, "recipient": e.Recipient.Number, "origin": string(e.Origin), "size": size,
		"content": content, "identity": identityOf(e.ReportID, e.Recipient, "unread"), "per_recipient": maxUnreadEach,
	})
	if err == nil {
		err = prune(ctx, tx)
	}
	if err != nil {
		return fmt.Errorf("keep a report that cannot be read: %w", err)
	}
	return nil
}

func prune(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, pruneUnread, pgx.NamedArgs{"keep": UnreadTime, "most": MaxUnread})
	return err
}

// Unread calls each for the reports that nobody could read, the newest first. It drops the expired
// ones.
func (s *Store) Unread(ctx context.Context, each func(Unread) error) error {
	return s.readUnread(ctx, 0, each)
}

// ErrNoReport says that no report has the key, any more.
var ErrNoReport = errors.New("no such report")

// UnreadReport returns the report with the key, or ErrNoReport.
func (s *Store) UnreadReport(ctx context.Context, key int64) (u Unread, err error) {
	found := false
	err = s.readUnread(ctx, key, func(one Unread) error {
		u, found = one, true
		return nil
	})
	if err == nil && !found {
		err = ErrNoReport
	}
	return u, err
}

func (s *Store) readUnread(ctx context.Context, key int64, each func(Unread) error) error {
	err := pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error { return prune(ctx, tx) })
	if err != nil {
		return fmt.Errorf("drop expired reports: %w", err)
	}
	read := func(rows pgx.Rows) error {
		for rows.Next() {
			u, err := pgx.RowToStructByName[Unread](rows)
			if err == nil {
				err = each(u)
			}
			if err != nil {
				return err
			}
		}
		return rows.Err()
	}
	if err := database.Read(ctx, s.pool, read, readUnread, pgx.NamedArgs{"key": key}); err != nil {
		return fmt.Errorf("read the reports: %w", err)
	}
	return nil
}

// AddressOf returns the address of a recipient, or "" if there is no such recipient.
func AddressOf(ctx context.Context, tx pgx.Tx, r token.Recipient) (address string, err error) {
	err = tx.QueryRow(ctx, `
		SELECT coalesce((SELECT address FROM recipients WHERE mailing = $1 AND number = $2), '')`,
		r.Mailing, r.Number).Scan(&address)
	if err != nil {
		return "", fmt.Errorf("read a recipient: %w", err)
	}
	return address, nil
}
