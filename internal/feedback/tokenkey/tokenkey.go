// Package tokenkey finds out whether this process lacks a token key of a mailing that is kept. A
// token that it cannot verify is then perhaps genuine: what comes in with the token must wait for a
// process with the key, and must not be answered as done or as unknown.
package tokenkey

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/feedback/token"
)

const (
	// lookEvery is the time between two looks at the keys of all mailings.
	lookEvery   = time.Minute
	lookTimeout = 10 * time.Second

	// recentMailings is how many of the latest mailings are looked at again: the transaction of an
	// earlier one may have ended later.
	recentMailings = 100
)

// Watch knows which keys the mailings need. It is safe for concurrent use.
type Watch struct {
	pool *pgxpool.Pool
	keys token.Keys
	log  *slog.Logger
	now  func() time.Time

	lacks   atomic.Bool
	settled atomic.Int64 // of the mailings up to this key, all were looked at

	mu    sync.Mutex
	known int64 // the highest mailings.key that was looked at
	// A look found the mailings up to atKnown at this time: those that were being opened.
	at      time.Time
	atKnown int64
}

// NewWatch returns a Watch over the mailings of a database. keys are those of this process.
func NewWatch(pool *pgxpool.Pool, keys token.Keys, log *slog.Logger) *Watch {
	return &Watch{pool: pool, keys: keys, log: log, now: time.Now}
}

// Run looks at the keys of all mailings once a minute, until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		_ = w.Look(ctx) // after an error, what was known stays
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// Lacks reports whether a key of a mailing is missing, as far as the last look tells.
func (w *Watch) Lacks() bool { return w.lacks.Load() }

// MayBeGenuine reports whether a key that is missing here may have signed the token of a recipient,
// which no key of this process has signed. It asks no database. So it takes each mailing for one
// with a missing key that was opened in the last minutes.
func (w *Watch) MayBeGenuine(claimed token.Recipient) bool {
	return w.Lacks() || claimed.Mailing > w.settled.Load()
}

// Look looks at the keys of all mailings. Only this finds that no key is missing any more.
func (w *Watch) Look(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.look(ctx, 0)
}

// LookAtLatest looks at the keys of the mailings that were opened since the last look.
func (w *Watch) LookAtLatest(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.look(ctx, max(w.known-recentMailings, 0))
}

func (w *Watch) look(ctx context.Context, above int64) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	began := w.now()
	rows, err := w.pool.Query(ctx, `
		SELECT coalesce(marks->>'token_key', ''), max(key) FROM mailings WHERE key > $1 GROUP BY 1`, above)
	if err != nil {
		return err
	}
	var name string
	var last int64
	known, lacks := w.known, w.Lacks()
	if above == 0 {
		known, lacks = 0, false
	}
	_, err = pgx.ForEachRow(rows, []any{&name, &last}, func() error {
		known, lacks = max(known, last), lacks || name != "" && !w.keys.Has(name)
		return nil
	})
	if err != nil {
		return err
	}
	w.known = known
	if above == 0 && began.Sub(w.at) >= lookEvery {
		// A mailing that was being opened at the look before has been opened since.
		w.settled.Store(w.atKnown)
		w.at, w.atKnown = began, known
	}
	if w.lacks.Swap(lacks) != lacks && lacks {
		w.log.Error("this worker lacks a token key of a mailing that is kept: until DM_TOKEN_KEYS has the key " +
			"again, the pages answer 503 and the mail listener 451 to tokens that cannot be read, and the " +
			"mailbox keeps such mail")
	}
	return nil
}
