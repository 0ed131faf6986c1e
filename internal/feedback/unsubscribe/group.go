package unsubscribe

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/tokenkey"
)

// The limits of what the listener costs the database: at most one transaction in each groupPause,
// with at most maxGroup requests, on one connection. Requests beyond maxWaiting are refused.
const (
	groupPause = 50 * time.Millisecond
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

	keys *tokenkey.Watch

	stop   context.CancelFunc
	ended  chan struct{}
	mu     sync.RWMutex
	closed bool
}

type job struct {
	change
	done chan<- error
}

func newGroup(pool *pgxpool.Pool, keys *tokenkey.Watch, log *slog.Logger) *group {
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
	pause := time.NewTicker(groupPause)
	defer pause.Stop()
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
		if ctx.Err() != nil {
			return
		}
	}
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
