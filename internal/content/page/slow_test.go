package page

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/content/render"
)

// Eight mailings have every slot of the worker, and their server does not answer. When they turn
// slow, a ninth mailing on the same host has its pages at once. Slow mailings that begin later have
// a number of slots of their own.
func TestEightSlowMailingsLeaveSlotsToAQuickOne(t *testing.T) {
	t.Parallel()
	hung := make(chan struct{}, 1000)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			hung <- struct{}{}
			<-r.Context().Done()
			return
		}
		html("x")(w, r)
	})
	f := quickFetcher(t)
	fetch := func(ctx context.Context, b Batch, path string, n int) error {
		places := locations(t, s.URL+path+"{{.n}}")
		l := places.NewLocator(ctx)
		return f.Each(ctx, b, places, n,
			func(i int) (*url.URL, error) { return l.Locate(anna("n", fmt.Sprint(i))) },
			func(_ int, _ render.Page, err error) error { return err })
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	begin := func(slow <-chan struct{}) {
		for n := range 8 {
			all.Go(func() {
				b := Batch{Mailing: fmt.Sprint("slow-", n), Slow: slow}
				if err := fetch(ctx, b, "/slow", 100); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
	await := func(n int) {
		for range n {
			<-hung
		}
	}
	slow := make(chan struct{})
	begin(slow)
	await(perWorker)
	close(slow)
	if err := fetch(ctx, Batch{Mailing: "quick", Slow: make(chan struct{})}, "/quick", 300); err != nil {
		t.Error(err)
	}
	await(perSlow) // those that had no slot until now
	for end := time.Now().Add(time.Minute); len(f.slots) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("slow pages hold %d slots of quick ones", len(f.slots))
		}
	}
	if len(f.slow) != perSlow {
		t.Errorf("%d slow pages hold slots", len(f.slow))
	}
	cancel()
	all.Wait()
	if len(f.slots) > 0 || len(f.slow) > 0 {
		t.Errorf("%d and %d slots are held by nobody", len(f.slots), len(f.slow))
	}
}
