package ratelimit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
)

// Both workers ask the database while the limit is locked, and go on at the same moment.
func TestTwoWorkersThatAskAtOnceNeverHaveTheSameTurn(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	pool := open(t, url)
	both := workers(t, url, 2)
	set(t, both[0], domain, "1/d")
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM rate_limits FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var had atomic.Int32
	var asking sync.WaitGroup
	for _, p := range both {
		asking.Go(func() {
			err := wait(ctx, p, domain)
			for database.Unavailable(err) && ctx.Err() == nil { // the lock was held for long
				err = wait(ctx, p, domain)
			}
			if err == nil {
				had.Add(1)
			}
		})
	}
	until(t, "two workers that wait", func() bool {
		var waiting int
		row := pool.QueryRow(
			t.Context(),
			`SELECT count(*) FROM pg_stat_activity WHERE `+servertest.WaitsForAnother,
		)
		if err := row.Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		return waiting == 2
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "a turn", func() bool { return had.Load() > 0 })
	time.AfterFunc(500*time.Millisecond, cancel) // the next turn comes tomorrow
	asking.Wait()
	if n := had.Load(); n != 1 {
		t.Errorf("the turn of today was taken %d times", n)
	}
}
