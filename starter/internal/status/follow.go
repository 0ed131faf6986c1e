package status

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"directmailer/internal/database"
	"directmailer/internal/temporalclient"
)

const (
	// readInterval is the time between two reads of the database. Where a read takes long, it grows up
	// to maxReadInterval, so that at most a twentieth of the time goes into reads.
	readInterval    = 500 * time.Millisecond
	maxReadInterval = 5 * time.Second
	// askInterval is the time between two questions to the workflow.
	askInterval = 2 * time.Second
)

// ForgottenError says that Temporal has no workflow for a mailing that has not ended.
type ForgottenError struct{ ID string }

func (e *ForgottenError) Error() string {
	return fmt.Sprintf("Temporal has no workflow for mailing %s: it was terminated and forgotten "+
		"(`starter close %s` closes its ledger), or it runs in another namespace", e.ID, e.ID)
}

// Dial connects to Temporal, or fails soon.
type Dial func(context.Context) (*temporalclient.Client, error)

// Follow shows the mailing until it ends, and returns its end. While the database does not answer,
// it shows what it read last: the mailing itself waits for the database as well. The same holds for
// Temporal while only Temporal has the mailing.
func (r *Reader) Follow(ctx context.Context, dial Dial, id string, d Display) (Status, error) {
	t, stop := followTemporal(ctx, dial, id)
	defer stop()
	var m meter
	var s Status
	for {
		began := time.Now()
		var err error
		if s, err = r.follow(ctx, id, t, s); err != nil {
			return s, err
		}
		next := time.After(max(readInterval, min(20*time.Since(began), maxReadInterval)))
		if s.PreparedAt != nil {
			m.add(time.Now(), s.Total())
		}
		if s.Ended() {
			return s, nil
		}
		d.Show(s, m.text(s.Open))
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-next:
		}
	}
}

// follow reads once.
func (r *Reader) follow(ctx context.Context, id string, t *temporalFollower, before Status) (Status, error) {
	s, err := r.Read(ctx, id, t.latest)
	var unasked *UnaskedError
	switch {
	case err == nil && s.Stored && !s.Closed && t.forgotten(s.firstRunID):
		return s, &ForgottenError{id}
	case err == nil || before.ID == "" || ctx.Err() != nil:
		return s, err
	case errors.As(err, &unasked):
		before.Doing = "Temporal does not answer, and no worker has taken the mailing up yet"
		return before, nil
	case database.Unavailable(err):
		before.Doing = "the database does not answer: the counts are the last known"
		return before, nil
	}
	return s, err
}

// temporalFollower asks Temporal again and again in the background, so that a slow answer does not
// hold up the counts.
type temporalFollower struct {
	mu    sync.Mutex
	last  Workflow
	asked chan struct{} // closed after the first answer
}

func followTemporal(ctx context.Context, dial Dial, id string) (t *temporalFollower, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	t = &temporalFollower{asked: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.run(ctx, dial, id)
	}()
	return t, func() { cancel(); <-done }
}

func (t *temporalFollower) run(ctx context.Context, dial Dial, id string) {
	var c *temporalclient.Client
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	var once sync.Once
	for ctx.Err() == nil {
		var w Workflow
		if c == nil {
			c, w.Err = dial(ctx)
		}
		if c != nil {
			w = Ask(ctx, c, id)
		}
		t.mu.Lock()
		t.last = w
		t.mu.Unlock()
		once.Do(func() { close(t.asked) })
		select {
		case <-ctx.Done():
		case <-time.After(askInterval):
		}
	}
	once.Do(func() { close(t.asked) })
}

// latest returns the latest answer. It waits for the first one only.
func (t *temporalFollower) latest(ctx context.Context) Workflow {
	select {
	case <-t.asked:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// forgotten tells whether Temporal has said that the workflow is gone. Another one may have its ID.
func (t *temporalFollower) forgotten(firstRunID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last.Err == nil && (!t.last.Known || t.last.firstRunID != firstRunID)
}
