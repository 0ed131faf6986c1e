package optouts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/address"
)

const (
	// watchInterval is the time between two questions of a Watch.
	watchInterval = 500 * time.Millisecond
	// watchTimeout ends a question to the database that gets no answer.
	watchTimeout = 5 * time.Second
	// maxAge is how old an answer may be. With an older one, a Watch asks about each message, so
	// that no request waits for longer than two seconds.
	maxAge = 1500 * time.Millisecond
	// maxRecent limits the requests that a Watch remembers. While more are new, because somebody
	// imports a file, it asks about each message.
	maxRecent = 20_000
)

// Watch tells a worker which requests came in since its batches were claimed. While batches are
// being sent, it asks the database one question twice a second, however many they are. So it also
// works behind a transaction pooler, which passes on no notifications. It is safe for concurrent
// use.
type Watch struct {
	pool *pgxpool.Pool

	mu       sync.Mutex
	views    map[*View]struct{}
	running  bool
	snapshot string // what was committed before it is known
	asked    time.Time
	recent   map[string][]found // by key
	number   int                // of requests in recent
	overflow time.Time          // when there were too many to remember
}

// found is a request, and when it was found.
type found struct {
	scope Scope
	why   string
	at    time.Time
}

// View is what a batch sees of a Watch: the requests that its mailing respects and that were
// committed since the view was opened.
type View struct {
	watch  *Watch
	scopes []Scope
	since  time.Time
}

// NewWatch returns a Watch on pool.
func NewWatch(pool *pgxpool.Pool) *Watch {
	return &Watch{pool: pool, views: map[*View]struct{}{}, recent: map[string][]found{}}
}

// Open opens a view for a mailing that respects requests of the scopes. The caller opens it before
// it claims the batch, because the claim finds the requests of before, and closes it in the end.
func (w *Watch) Open(ctx context.Context, scopes []string) (*View, error) {
	v := &View{watch: w, since: time.Now()}
	for _, s := range scopes {
		v.scopes = append(v.scopes, Scope(s))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running {
		ctx, cancel := context.WithTimeout(ctx, watchTimeout)
		defer cancel()
		began := time.Now()
		// No view is open: nobody waits for the lock but other batches that are about to be claimed.
		if err := w.pool.QueryRow(ctx, `SELECT pg_current_snapshot()::text`).Scan(&w.snapshot); err != nil {
			return nil, fmt.Errorf("begin to watch the opt-outs: %w", err)
		}
		w.asked, w.running = began, true
		go w.run()
	}
	w.views[v] = struct{}{}
	return v, nil
}

// Close ends the view.
func (v *View) Close() {
	v.watch.mu.Lock()
	defer v.watch.mu.Unlock()
	delete(v.watch.views, v)
}

// Why returns why the address, which is one as on the wire, must not be mailed, or "". What it says
// is no older than two seconds. It returns an error of the database, and never guesses.
func (v *View) Why(ctx context.Context, text string) (string, error) {
	w := v.watch
	w.mu.Lock()
	unsure := time.Since(w.asked) > maxAge || !w.overflow.Before(v.since)
	if !unsure {
		defer w.mu.Unlock()
		return v.known(text)
	}
	w.mu.Unlock()
	a, err := read(text)
	if err != nil {
		return "", err
	}
	return w.ask(ctx, a.Key(), v.scopes)
}

// known returns why the address must not be mailed, by the requests that the Watch remembers, or
// "". It needs mu.
func (v *View) known(text string) (string, error) {
	if len(v.watch.recent) == 0 {
		return "", nil
	}
	a, err := read(text)
	if err != nil {
		return "", err
	}
	for _, key := range []string{a.Key(), "@" + a.Domain()} {
		for _, f := range v.watch.recent[key] {
			if slices.Contains(v.scopes, f.scope) {
				return f.why, nil
			}
		}
	}
	return "", nil
}

func read(text string) (address.Address, error) {
	a, err := address.Parse(text)
	if err != nil { // it was checked when it was stored
		return a, errors.New("look up the opt-outs of a message: its recipient's address cannot be read")
	}
	return a, nil
}

var (
	readNew = statement("watch")
	readWhy = statement("why")
)

func (w *Watch) ask(ctx context.Context, key string, scopes []Scope) (why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	err = w.pool.QueryRow(ctx, readWhy, pgx.NamedArgs{"key": key, "scopes": Texts(scopes)}).Scan(&why)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look up the opt-outs of a message: %w", err)
	}
	return why, nil
}

// run asks until no view is open.
func (w *Watch) run() {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for range ticker.C {
		w.mu.Lock()
		if len(w.views) == 0 {
			w.running = false
			w.forget()
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		w.look()
	}
}

// look asks once. An error needs no report: views notice that the answer is old, and ask.
func (w *Watch) look() {
	ctx, cancel := context.WithTimeout(context.Background(), watchTimeout)
	defer cancel()
	began := time.Now()
	rows, err := w.pool.Query(ctx, readNew, pgx.NamedArgs{"known": w.snapshot, "most": maxRecent + 1})
	if err != nil {
		return
	}
	type row struct {
		Snapshot        string
		Key, Scope, Why *string
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil || len(all) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.snapshot, w.asked = all[0].Snapshot, began
	w.prune()
	if w.number+len(all) > maxRecent {
		w.forget()
		w.overflow = time.Now()
		return
	}
	for _, r := range all {
		if r.Key != nil {
			key := strings.Clone(*r.Key)
			w.recent[key] = append(w.recent[key], found{Scope(*r.Scope), *r.Why, time.Now()})
			w.number++
		}
	}
}

// prune forgets the requests that every open view's claim has found. It needs mu.
func (w *Watch) prune() {
	oldest := time.Now()
	for v := range w.views {
		if v.since.Before(oldest) {
			oldest = v.since
		}
	}
	for key, all := range w.recent {
		kept := slices.DeleteFunc(all, func(f found) bool { return f.at.Before(oldest) })
		if w.number -= len(all) - len(kept); len(kept) == 0 {
			delete(w.recent, key)
		} else {
			w.recent[key] = kept
		}
	}
}

// forget forgets all requests. It needs mu.
func (w *Watch) forget() {
	clear(w.recent)
	w.number = 0
}
