package page

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"

	"directmailer/internal/content/render"
)

// Batch is a batch whose pages are fetched.
type Batch struct {
	Mailing string
	// Slow is closed when the pages turn out to be slow. Then they leave the slots of the worker to
	// quick pages, and take those for slow ones. nil: they never do.
	Slow <-chan struct{}
}

// Each fetches the pages of n recipients of a mailing, several at a time, and gives them to take
// one by one in their order. locate says where the page of the i-th is. What is about one
// recipient, an error of locate or a [*Failure], is given to take. Each ends with the first error
// of take, with an [*Unavailable] when it is that page's turn, or with ctx's error.
//
// No more than a window of pages is fetched ahead, however many there are. All calls for one
// mailing share its slots.
func (f *Fetcher) Each(ctx context.Context, b Batch, s *Locations, n int,
	locate func(i int) (*url.URL, error), take func(i int, page render.Page, err error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	slots := f.join(b.Mailing)
	defer f.leave(b.Mailing)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	w := window{f: f, s: s, mailing: slots, slow: b.Slow, running: &running}
	next := 0
	for i := range n {
		for ; next < n && next < i+perBatch && !w.away.Load(); next++ {
			u, err := locate(next)
			w.start(ctx, next, u, err)
		}
		slot := w.at(i)
		got := <-slot.fetched
		if got.err == errLong {
			got.page, got.err = f.fetch(ctx, slots, b.Slow, s, slot.url, maxBody)
		}
		var away *Unavailable
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(got.err, &away):
			return got.err
		}
		if err := take(i, got.page, got.err); err != nil {
			return err
		}
	}
	return nil
}

// window holds the pages that are fetched before their turn.
type window struct {
	f       *Fetcher
	s       *Locations
	mailing chan struct{} // the slots of the mailing
	slow    <-chan struct{}
	running *sync.WaitGroup
	slots   [perBatch]slot
	away    atomic.Bool // a page has found the server unavailable: nothing more is asked for
}

type slot struct {
	url     *url.URL
	fetched chan fetched
}

type fetched struct {
	page render.Page
	err  error
}

func (w *window) at(i int) *slot { return &w.slots[i%perBatch] }

func (w *window) start(ctx context.Context, i int, u *url.URL, err error) {
	done := make(chan fetched, 1)
	*w.at(i) = slot{u, done}
	if err != nil {
		done <- fetched{err: err}
		return
	}
	w.running.Go(func() {
		page, err := w.f.fetch(ctx, w.mailing, w.slow, w.s, u, smallBody)
		var away *Unavailable
		if errors.As(err, &away) {
			w.away.Store(true)
		}
		done <- fetched{page, err}
	})
}

// share is what a mailing may take of a worker's slots.
type share struct {
	slots chan struct{}
	users int // calls of Each
}

// join returns the slots that the mailing's batches share. They are kept by the mailing's ID,
// because two batches of a mailing may have different Locations.
func (f *Fetcher) join(mailing string) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shares[mailing]
	if s == nil {
		s = &share{slots: make(chan struct{}, perMailing)}
		f.shares[mailing] = s
	}
	s.users++
	return s.slots
}

func (f *Fetcher) leave(mailing string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shares[mailing]
	if s.users--; s.users == 0 {
		delete(f.shares, mailing)
	}
}
