package smtp

import (
	"context"
	"net"
	"sync"
)

// contextWatch closes a socket when a context ends between start and stop. All messages of a batch
// have one context, so the registration with a context is kept until another context comes.
type contextWatch struct {
	socket net.Conn

	mu     sync.Mutex
	done   <-chan struct{} // of the context that is registered
	remove func() bool     // removes the registration
	active bool            // between start and stop
	cause  error           // of the context whose end has closed the socket
	closed bool
}

// start begins the watch. It returns the context's error if the context has ended already.
func (w *contextWatch) start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = true
	if done := ctx.Done(); done != w.done && !w.closed {
		if w.remove != nil {
			w.remove()
		}
		w.done, w.remove = done, nil
		if done != nil {
			w.remove = context.AfterFunc(ctx, func() { w.ended(ctx, done) })
		}
	}
	// This comes after active is set: an end before that, which ended has ignored, is found here.
	return ctx.Err()
}

// stop ends the watch. It returns the context's error if the socket was closed.
func (w *contextWatch) stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = false
	return w.cause
}

func (w *contextWatch) ended(ctx context.Context, done <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active && w.done == done {
		w.cause = ctx.Err()
		_ = w.socket.Close()
	}
}

// close removes the registration.
func (w *contextWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.remove != nil {
		w.remove()
		w.remove = nil
	}
}

// reason returns the error of the context whose end has closed the socket, or nil.
func (w *contextWatch) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}
