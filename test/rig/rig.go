// Package rig is what the tests of whole mailings share: a database, a Temporal server, worker
// processes, SMTP servers that do what a test wants, and the comparison of what was received with
// the ledger.
package rig

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"directmailer/internal/dev/servertest"
)

// Timeout is how long a mailing of a test may take on a machine that does much else at the same
// time. Temporal may have to declare several workers dead before.
const Timeout = 6 * time.Minute

// Main runs the tests of a package, and stops the servers that they have started:
// os.Exit(rig.Main(m)).
func Main(m *testing.M) int {
	servertest.Parallel(6)
	return servertest.Main(m)
}

// Rig is everything that a mailing needs: a database, Temporal, a task queue of its own, and
// workers that a test may kill.
type Rig struct {
	testing.TB
	DatabaseURL     string
	TemporalAddress string
	TaskQueue       string
	DropPoints      string // of the workers: "name=url …"
	MailingID       string // default: made of the test's name
	Pool            *pgxpool.Pool
	Temporal        client.Client

	mu      sync.Mutex
	workers []*Worker
}

// New returns a rig whose workers have the drop points ("name=url …"). Its database is new and
// migrated; its Temporal server is that of the package's tests.
func New(t testing.TB, dropPoints string) *Rig {
	t.Helper()
	return NewOn(t, dropPoints, servertest.Database(t), servertest.Temporal(t))
}

// NewOn is New with servers of the caller's.
func NewOn(t testing.TB, dropPoints, databaseURL, temporalAddress string) *Rig {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "=", "-", ",", "-").Replace(t.Name()))
	r := &Rig{TB: t, DropPoints: dropPoints, DatabaseURL: databaseURL, TemporalAddress: temporalAddress,
		TaskQueue: fmt.Sprintf("q-%s-%d", name, Number())}
	r.Pool = servertest.Pool(t, r.DatabaseURL, 4)
	var err error
	r.Temporal, err = client.Dial(client.Options{HostPort: r.TemporalAddress, Logger: silent{},
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Temporal.Close)
	return r
}

// patience is how long a test waits for something that takes milliseconds.
const patience = 2 * time.Minute

// Await waits until done is closed, at most for two minutes.
func Await(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// AwaitExit waits until the worker has ended by itself, at most for Timeout.
func (r *Rig) AwaitExit(w *Worker) {
	r.Helper()
	r.Eventually("the worker has ended", func() bool {
		select {
		case <-w.Exited:
			return true
		default:
			return false
		}
	})
}

// Another returns the same rig for a second mailing, whose ID ends in the suffix.
func (r *Rig) Another(suffix string) *Rig {
	return &Rig{TB: r.TB, DropPoints: r.DropPoints, DatabaseURL: r.DatabaseURL, TemporalAddress: r.TemporalAddress,
		TaskQueue: r.TaskQueue, Pool: r.Pool, Temporal: r.Temporal, MailingID: r.ID() + "-" + suffix}
}

var numbers atomic.Int64

// Number returns a different number at each call, for IDs and task queues.
func Number() int64 { return numbers.Add(1) }

// silent is a logger that writes nothing.
type silent struct{}

var _ log.Logger = silent{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
