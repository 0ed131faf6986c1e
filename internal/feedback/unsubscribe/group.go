package unsubscribe

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/database"
	"directmailer/internal/feedback/token"
	"directmailer/internal/mailings"
)

// The limits of what the listener costs the database: at most one transaction in each groupPause,
// with at most maxGroup requests, on one connection. Requests beyond maxWaiting are refused.
const (
	groupPause  = 50 * time.Millisecond
	keysEvery   = time.Minute
	maxGroup    = 500
	maxWaiting  = 1000
	groupTime   = 10 * time.Second
	maxMailings = 1024 // whose scope is remembered
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
	pool     *pgxpool.Pool
	log      *slog.Logger
	waiting  chan job
	mailings map[int64]about // those that are known, used by run only

	keys  token.Keys
	lacks atomic.Bool // a key of a mailing that is kept

	stop   context.CancelFunc
	ended  chan struct{}
	mu     sync.RWMutex
	closed bool
}

type job struct {
	change
	done chan<- error
}

// about is what leaving a mailing means.
type about struct {
	id    string
	scope optouts.Scope
}

func newGroup(pool *pgxpool.Pool, keys token.Keys, log *slog.Logger) *group {
	ctx, stop := context.WithCancel(context.Background())
	g := &group{
		pool: pool, log: log, waiting: make(chan job, maxWaiting), stop: stop, ended: make(chan struct{}),
		mailings: map[int64]about{}, keys: keys,
	}
	go g.run(ctx)
	return g
}

// add returns when the change is committed, or an error if it may not be.
func (g *group) add(ctx context.Context, c change) error {
	done := make(chan error, 1)
	g.mu.RLock()
	closed := g.closed
	if !closed {
		select {
		case g.waiting <- job{c, done}:
		default:
			closed = true
		}
	}
	g.mu.RUnlock()
	if closed {
		return errBusy
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
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

// run commits one group after the other. Each begins with a pause, in which requests gather.
func (g *group) run(ctx context.Context) {
	defer close(g.ended)
	pause, look := time.NewTicker(groupPause), time.NewTicker(keysEvery)
	defer pause.Stop()
	defer look.Stop()
	g.lookForKeys(ctx)
	for {
		var first job
		select {
		case first = <-g.waiting:
		case <-look.C:
			g.lookForKeys(ctx)
			continue
		case <-ctx.Done():
			return
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		jobs := g.gather(first)
		err := g.commit(jobs)
		if err != nil {
			g.log.Error("requests to unsubscribe could not be written: their senders are told to try again",
				"requests", len(jobs), "error", database.Reason(err))
		}
		for _, j := range jobs {
			j.done <- err
		}
	}
}

// lookForKeys finds out whether these keys can read the tokens of all mailings that are kept.
func (g *group) lookForKeys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, groupTime)
	defer cancel()
	rows, err := g.pool.Query(ctx, `
		SELECT DISTINCT marks->>'token_key' FROM mailings WHERE marks->>'token_key' IS NOT NULL`)
	if err != nil {
		return // asked again soon
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return
	}
	lacks := slices.ContainsFunc(names, func(name string) bool { return !g.keys.Has(name) })
	if g.lacks.Swap(lacks) != lacks && lacks {
		g.log.Error("the public listener lacks a token key of a mailing that is kept: it answers 503 to tokens that it " +
			"cannot read, until DM_TOKEN_KEYS has the key again")
	}
}

func (g *group) gather(first job) []job {
	jobs := []job{first}
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

// commit writes the requests of a group, each change once.
func (g *group) commit(jobs []job) error {
	ctx, cancel := context.WithTimeout(context.Background(), groupTime)
	defer cancel()
	changes := withoutRepeated(jobs)
	return pgx.BeginTxFunc(ctx, g.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		requests, err := g.requests(ctx, tx, changes)
		if err != nil {
			return err
		}
		// In the order of arrival: somebody may leave, undo that, and leave again.
		for len(requests) > 0 {
			n := 1
			for n < len(requests) && requests[n].undo == requests[0].undo {
				n++
			}
			if err := apply(ctx, tx, requests[:n]); err != nil {
				return err
			}
			requests = requests[n:]
		}
		return nil
	})
}

// withoutRepeated returns the changes of jobs in their order. It leaves out a change that repeats
// the one before it of the same recipient and choice.
func withoutRepeated(jobs []job) (changes []change) {
	type what struct {
		who    token.Recipient
		choice choice
	}
	undone := map[what]bool{}
	for _, j := range jobs {
		w := what{j.who, j.choice}
		if before, ok := undone[w]; !ok || before != j.undo {
			undone[w] = j.undo
			changes = append(changes, j.change)
		}
	}
	return changes
}

type request struct {
	optouts.Request
	undo bool
}

// apply writes requests of one kind.
func apply(ctx context.Context, tx pgx.Tx, requests []request) (err error) {
	all := make([]optouts.Request, len(requests))
	for i, r := range requests {
		all[i] = r.Request
	}
	if requests[0].undo {
		_, err = optouts.Remove(ctx, tx, all)
	} else {
		_, err = optouts.Add(ctx, tx, all)
	}
	return err
}

// requests returns the requests of recipients who are there. The others have been deleted with
// their mailing, or were never there.
func (g *group) requests(ctx context.Context, tx pgx.Tx, changes []change) ([]request, error) {
	if err := g.learn(ctx, tx, changes); err != nil {
		return nil, err
	}
	keys, err := addressKeys(ctx, tx, changes)
	if err != nil {
		return nil, err
	}
	var all []request
	for _, c := range changes {
		mailing, known := g.mailings[c.who.Mailing]
		key := keys[c.who]
		if !known || key == "" {
			continue
		}
		r := optouts.Request{Key: key, Scope: mailing.scope, Reason: optouts.Asked, Mailing: mailing.id}
		if c.choice == leaveAll {
			r.Scope = optouts.All
		}
		all = append(all, request{r, c.undo})
	}
	return all, nil
}

// learn reads what mailings are about that are not known yet.
func (g *group) learn(ctx context.Context, tx pgx.Tx, changes []change) error {
	if len(g.mailings) > maxMailings {
		clear(g.mailings)
	}
	var unknown []int64
	for _, c := range changes {
		if _, known := g.mailings[c.who.Mailing]; !known {
			unknown = append(unknown, c.who.Mailing)
		}
	}
	rows, err := tx.Query(ctx, `
		SELECT key, id, origin, topic FROM mailings
		WHERE key = ANY($1::bigint[])`, unknown)
	if err != nil {
		return err
	}
	var key int64
	var id, origin, topic string
	_, err = pgx.ForEachRow(rows, []any{&key, &id, &origin, &topic}, func() error {
		g.mailings[key] = about{id, mailings.RequestScope(origin, topic)}
		return nil
	})
	return err
}

// addressKeys returns what the addresses of recipients are compared by.
func addressKeys(ctx context.Context, tx pgx.Tx, changes []change) (map[token.Recipient]string, error) {
	mailings, numbers := make([]int64, len(changes)), make([]int64, len(changes))
	for i, c := range changes {
		mailings[i], numbers[i] = c.who.Mailing, int64(c.who.Number)
	}
	rows, err := tx.Query(ctx, `
		SELECT r.mailing, r.number, r.address_key
		FROM unnest($1::bigint[], $2::bigint[]) AS x(mailing, number)
		JOIN recipients r ON r.mailing = x.mailing AND r.number = x.number`, mailings, numbers)
	if err != nil {
		return nil, err
	}
	keys := map[token.Recipient]string{}
	var who token.Recipient
	var key string
	_, err = pgx.ForEachRow(rows, []any{&who.Mailing, &who.Number, &key}, func() error {
		keys[who] = key
		return nil
	})
	return keys, err
}
