// Package mailbox reads the mail that came back into an IMAP mailbox (RFC 3501, RFC 9051; RFC 6851
// to move messages). It is the only writer of the table mailbox_positions.
//
// The position in the mailbox, which is the UID of the last message that was read, is committed
// with what follows from this message. So a message is read once, whenever the process dies. If the
// server gives out new UIDs (UIDVALIDITY), the mailbox is read from its beginning: a report that
// was read before is known by its own ID.
//
// A message with a token that cannot be verified while a token key is missing is left for a reader
// with the key. The position moves on, and the lowest UID of such messages is kept beside it. The
// next reader that lacks no key reads from there again, once. So forged tokens hold up nobody.
//
// A message about recipients of ours goes to the folder Processed afterwards. Every other message
// stays as it is: the mailbox may be that of a person.
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/feedback/events"
	"directmailer/internal/feedback/intake"
	"directmailer/internal/feedback/tokenkey"
)

// Processed is the folder of messages that were read.
const Processed = "Processed"

const (
	// maxKept is how much of a message is looked at, in octets.
	maxKept = 256 << 10
	// readTimeout limits one call of Read. What it has read by then is kept.
	readTimeout = 10 * time.Minute
)

// UnavailableError says that the mailbox cannot be read now.
type UnavailableError struct {
	Doing  string
	Reason string // without the server's words, which may quote the user
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the mailbox is unavailable: %s: %s", e.Doing, e.Reason)
}

// Read is what a reading of the mailbox has found.
type Read struct {
	Messages int  // that were read for the first time
	Later    int  // of them: left until no token key is missing
	Reports  int  // of them: about recipients of ours
	Events   int  // that are new
	Skipped  int  // messages that could not be recorded, and are flagged
	More     bool // there are more messages
}

// Reader reads one mailbox. It is safe for concurrent use.
type Reader struct {
	config Config
	pool   *pgxpool.Pool
	intake *intake.Intake
	keys   *tokenkey.Watch
	log    *slog.Logger
}

// NewReader returns a Reader of a mailbox. keys tells whether a token key is missing.
func NewReader(
	c Config, pool *pgxpool.Pool, i *intake.Intake, keys *tokenkey.Watch, log *slog.Logger,
) *Reader {
	return &Reader{c, pool, i, keys, log}
}

// Read reads messages that were not read before, at most most of them. The error is an
// [*UnavailableError], or one of the database.
func (r *Reader) Read(ctx context.Context, most int) (found Read, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	s, err := r.open(ctx)
	if err != nil {
		return found, err
	}
	defer s.close()
	p, err := r.position(ctx, s.validity)
	if err != nil {
		return found, err
	}
	uids, err := s.after(p.last)
	if err != nil {
		return found, err
	}
	// A message that is there is about a mailing that is there.
	if err := r.keys.LookAtLatest(ctx); err != nil {
		return found, fmt.Errorf("look for missing token keys: %w", err)
	}
	if p.lacks = r.keys.Lacks(); !p.lacks && p.later > 0 {
		if uids, err = s.after(min(p.last, p.later-1)); err != nil {
			return found, err
		}
	}
	if found.More = len(uids) > most; found.More {
		uids = uids[:most]
	}
	for _, uid := range uids {
		if err := r.read(ctx, s, p, uid, &found); err != nil {
			return found, err
		}
	}
	if found.Later > 0 {
		r.log.Warn("messages of the mailbox are left until DM_TOKEN_KEYS has every key: nobody can tell whom they name",
			"messages", found.Later)
	}
	return found, nil
}

// read reads one message.
func (r *Reader) read(ctx context.Context, s *session, p position, uid imap.UID, found *Read) error {
	m, err := s.fetch(uid)
	if err != nil || m == nil { // it was removed meanwhile
		return err
	}
	moveOn := func(ctx context.Context, tx pgx.Tx, taken intake.Taken) error {
		return r.setPosition(ctx, tx, s.validity, uid, p.lacks, taken.Later)
	}
	m.LacksKey = p.lacks
	taken, err := r.intake.Take(ctx, *m, moveOn)
	if err != nil {
		if ctx.Err() != nil || database.Unavailable(err) || isOfAll(err) {
			return err
		}
		// It would fail each time, and hold up all others.
		r.log.Error("a message of the mailbox could not be recorded: it is flagged, and stays where it is",
			"uid", uint32(uid), "error", database.Redact(err))
		if err := s.flag(uid); err != nil {
			return err
		}
		found.Skipped++
		return pgx.BeginTxFunc(ctx, r.pool, database.ReadCommitted, func(tx pgx.Tx) error {
			return moveOn(ctx, tx, intake.Taken{})
		})
	}
	if uid > p.last {
		found.Messages++
	}
	found.Events += taken.New
	if taken.Later {
		found.Later++
		return nil
	}
	if taken.Named == 0 {
		return nil
	}
	found.Reports++
	return s.putAway(uid)
}

// isOfAll reports whether the database refuses every message for the same reason, for example
// because a table is missing in the middle of an upgrade. Errors of the classes 22, 23 and 54 are
// about the values of one message (the PostgreSQL manual's appendix A).
func isOfAll(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	is := func(class string) bool { return strings.HasPrefix(refused.Code, class) }
	return !is("22") && !is("23") && !is("54")
}

// position is how far a mailbox is read.
type position struct {
	last  imap.UID // of the last message that was read; 0: none, or the server has given out new UIDs
	later imap.UID // the lowest of the messages that a reader without a missing key reads again; 0: none
	lacks bool     // a token key is missing here
}

func (r *Reader) position(ctx context.Context, validity uint32) (p position, err error) {
	var last, later int64
	err = r.pool.QueryRow(ctx, `SELECT uid, coalesce(later_uid, 0) FROM mailbox_positions
		WHERE name = $1 AND uid_validity = $2`, r.config.name(), int64(validity)).Scan(&last, &later)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read the position in the mailbox: %w", err)
	}
	return position{last: imap.UID(last), later: imap.UID(later)}, nil
}

// setPosition moves the position on, and never back: another worker may read at the same time. A
// message that is left for later becomes the first of such messages, unless there is an earlier
// one. A reader that lacks no key has read all up to uid.
func (r *Reader) setPosition(ctx context.Context, tx pgx.Tx, validity uint32, uid imap.UID, lacks, later bool) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO mailbox_positions AS p (name, uid_validity, uid, later_uid)
		VALUES ($1, $2, $3, CASE WHEN $5 THEN $3::bigint END)
		ON CONFLICT (name) DO UPDATE SET uid_validity = excluded.uid_validity, read_at = now(),
			uid = CASE WHEN p.uid_validity = excluded.uid_validity THEN greatest(p.uid, excluded.uid)
				ELSE excluded.uid END,
			later_uid = CASE
				WHEN p.uid_validity <> excluded.uid_validity THEN excluded.later_uid
				WHEN $4 THEN least(p.later_uid, excluded.later_uid)
				WHEN p.later_uid > excluded.uid THEN p.later_uid
				WHEN p.later_uid <= excluded.uid AND excluded.uid < p.uid THEN excluded.uid + 1
			END`,
		r.config.name(), int64(validity), int64(uid), lacks, later)
	if err != nil {
		return fmt.Errorf("write the position in the mailbox: %w", err)
	}
	return nil
}

// section is the beginning of a message, which stays unseen.
var section = &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: maxKept}}

// fetch returns a message, or nil if it is not there any more.
func (s *session) fetch(uid imap.UID) (*intake.Message, error) {
	options := &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: true,
		BodySection: []*imap.FetchItemBodySection{section}}
	all, err := s.client.Fetch(imap.UIDSetNum(uid), options).Collect()
	if err != nil {
		return nil, s.failed("fetch a message", err)
	}
	i := slices.IndexFunc(all, func(m *imapclient.FetchMessageBuffer) bool { return m.UID == uid })
	if i < 0 {
		return nil, nil
	}
	return &intake.Message{
		Data: all[i].FindBodySection(section), Size: all[i].RFC822Size, At: all[i].InternalDate, Origin: events.Mailbox,
	}, nil
}
