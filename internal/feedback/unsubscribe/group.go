package unsubscribe

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/feedback/token"
)

// The limits of what the listener costs the database: at most one transaction in each groupPause,
// with at most maxGroup requests, on one connection. Requests beyond maxWaiting are refused.
const (
	groupPause = 50 * time.Millisecond
	keysEvery  = time.Minute
	maxGroup   = 500
	maxWaiting = 1000
	groupTime  = 10 * time.Second
)

var (
	errBusy   = errors.New("too many requests wait for the database")
	errClosed = errors.New("the listener is closing")
)

// choice is what a person wants to leave.
type choice int

const (
	leaveThis choice = iota // what the mailing is about: its topic, else its list, else all mail
	leaveAll
)

// change is one request: to leave, or to undo that.
type change struct {
	who    token.Recipient // the zero value for a token that is not genuine
	choice choice
	undo   bool
}

// group writes the requests of all clients, several in one transaction. Requests whose token is not
// genuine wait as long as the others, and write nothing.
type group struct {
	pool    *pgxpool.Pool
	log     *slog.Logger
	waiting chan job

	keys  token.Keys
	lacks atomic.Bool  // a key of a mailing that is kept
	known atomic.Int64 // the highest mailings.key whose token key was looked up

	stop   context.CancelFunc
	ended  chan struct{}
	mu     sync.RWMutex
	closed bool
}

type job struct {
	change
	done chan<- error
}

func newGroup(pool *pgxpool.Pool, keys token.Keys, log *slog.Logger) *group {
	ctx, stop := context.WithCancel(context.Background())
	g := &group{
		pool: pool, log: log, waiting: make(chan job, maxWaiting), stop: stop, ended: make(chan struct{}), keys: keys,
	}
	go g.run(ctx)
	return g
}

// add returns when the change is committed, or an error if it may not be.
func (g *group) add(ctx context.Context, c change) error {
	done := make(chan error, 1)
	if err := g.enter(job{c, done}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter puts a job among those that wait.
func (g *group) enter(j job) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return errClosed
	}
	select {
	case g.waiting <- j:
		return nil
	default:
		return errBusy
	}
}

// close answers what waits, and ends.
func (g *group) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.stop()
	<-g.ended
	for {
		select {
		case j := <-g.waiting:
			j.done <- errClosed
		default:
			return
		}
	}
}

// run commits a group in each pause, and answers it at the end of the pause: a request that writes
// takes no longer than one that does not.
func (g *group) run(ctx context.Context) {
	defer close(g.ended)
	pause, look := time.NewTicker(groupPause), time.NewTicker(keysEvery)
	defer pause.Stop()
	defer look.Stop()
	_ = g.lookForKeys(ctx, 0) // after an error, the next token that cannot be read asks again
	for {
		jobs := g.gather()
		err := g.commit(jobs)
		if err != nil {
			g.log.Error("requests to unsubscribe could not be written: their senders are told to try again",
				"requests", len(jobs), "error", database.Reason(err))
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		for _, j := range jobs {
			j.done <- err
		}
		select {
		case <-look.C:
			_ = g.lookForKeys(ctx, 0)
		case <-ctx.Done():
			return
		default:
		}
	}
}

// recentMailings is how many of the latest mailings are looked at again: the transaction of an
// earlier one may have ended later.
const recentMailings = 100

// lookForKeys finds out whether these keys can read the tokens of the mailings whose key is above
// a number. Only a look at all of them finds that no key is missing any more.
func (g *group) lookForKeys(ctx context.Context, above int64) error {
	ctx, cancel := context.WithTimeout(ctx, groupTime)
	defer cancel()
	rows, err := g.pool.Query(ctx, `
		SELECT coalesce(marks->>'token_key', ''), max(key) FROM mailings WHERE key > $1 GROUP BY 1`, above)
	if err != nil {
		return err
	}
	var name string
	var last int64
	known, lacks := g.known.Load(), g.lacks.Load()
	if above <= 0 {
		known, lacks = 0, false
	}
	_, err = pgx.ForEachRow(rows, []any{&name, &last}, func() error {
		known, lacks = max(known, last), lacks || name != "" && !g.keys.Has(name)
		return nil
	})
	if err != nil {
		return err
	}
	g.known.Store(known)
	if g.lacks.Swap(lacks) != lacks && lacks {
		g.log.Error("the public listener lacks a token key of a mailing that is kept: it answers 503 to tokens that it " +
			"cannot read, until DM_TOKEN_KEYS has the key again")
	}
	return nil
}

// gather returns the jobs that wait, at most maxGroup of them.
func (g *group) gather() (jobs []job) {
	for len(jobs) < maxGroup {
		select {
		case j := <-g.waiting:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}
