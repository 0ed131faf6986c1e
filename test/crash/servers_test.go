package crash

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// The database is unavailable for longer than the mailing's attempts. The mailing is suspended,
// says why, and resumes by itself.
func TestALongOutageOfTheDatabaseSuspendsTheMailingWhichGoesOnByItself(t *testing.T) {
	t.Parallel()
	const recipients = 400
	server := servertest.OwnPostgres(t)
	s, stall := rig.StalledServer(t, 40)
	r := rig.NewOn(t, rig.MX(s), server.URL("mail"), servertest.Temporal(t))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(20)
	in.Retry.Database.Attempts = 2
	run := r.Start(in)
	r.AwaitStalled(s, stall, 40)
	server.Kill()
	stall.ReleaseAll()
	r.AwaitStatus("it is suspended", func(s workflows.Status) bool {
		return s.State == workflows.StateSuspended &&
			!s.Since.IsZero()
	})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > rig.Connections || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

func TestPostgreSQLIsKilledAndComesBackAndNothingIsLost(t *testing.T) {
	t.Parallel()
	const recipients = 200
	server := servertest.OwnPostgres(t)
	s, stall := rig.StalledServer(t, 60)
	r := rig.NewOn(t, rig.MX(s), server.URL("mail"), servertest.Temporal(t))
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(50))
	r.AwaitStalled(s, stall, 60)
	server.Kill()
	stall.ReleaseAll() // the server answers while the ledger is unavailable
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > rig.Connections || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// The lock delays the freezing of the list until PostgreSQL is killed.
func TestPostgreSQLIsKilledWhileAListIsPreparedAndNothingIsThereTwice(t *testing.T) {
	t.Parallel()
	const recipients = 300
	server := servertest.OwnPostgres(t)
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.NewOn(t, rig.MX(s), server.URL("mail"), servertest.Temporal(t))
	r.ImportList(recipients)
	lock, err := r.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }() // releases its broken connection
	if _, err := lock.Exec(t.Context(), `LOCK TABLE batches`); err != nil {
		t.Fatal(err)
	}
	r.StartWorker()
	run := r.Start(rig.Mailing(50))
	r.Eventually("the list is being prepared", func() bool {
		var n int
		err := lock.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE relation = 'batches'::regclass
			AND NOT granted`).Scan(&n)
		return err == nil && n > 0
	})
	server.Kill()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.Recipients != recipients ||
		result.Counts.Sent != recipients || result.Batches != recipients/50 {
		t.Errorf("%d duplicates; %+v", d, result)
	}
}

func TestTemporalIsKilledAndComesBackAndNothingIsLost(t *testing.T) {
	t.Parallel()
	const recipients = 200
	server := servertest.OwnTemporal(t, nil)
	s, stall := rig.StalledServer(t, 60)
	r := rig.NewOn(t, rig.MX(s), servertest.Database(t), server.Address())
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(50))
	r.AwaitStalled(s, stall, 60)
	server.Kill()
	stall.ReleaseAll()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Eventually("the mailing has ended", func() bool {
		d, err := r.Temporal.DescribeWorkflowExecution(t.Context(), run.GetID(), "")
		return err == nil && d.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	})
	result := r.Result(r.Temporal.GetWorkflow(t.Context(), run.GetID(), ""))
	if d := r.Judge(s.Copies(), recipients); d > rig.Connections || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// Each connection to Temporal breaks a little later in the worker's start than those before.
func TestAWorkerStartsThoughTemporalDiesMeanwhile(t *testing.T) {
	t.Parallel()
	r := rig.New(t, "files=dir:"+t.TempDir())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var broken atomic.Int32
	upstream := r.TemporalAddress
	go func() {
		for {
			allowed := int64(200) // octets to Temporal
			for range broken.Load() {
				allowed += allowed / 3
			}
			c, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", upstream)
			if err != nil {
				t.Error(err)
				return
			}
			go func() { _, _ = io.Copy(c, server) }()
			go func() {
				if allowed > 10_000 {
					allowed = math.MaxInt64
				}
				if n, _ := io.CopyN(server, c, allowed); n == allowed {
					broken.Add(1)
				}
				_, _ = c.Close(), server.Close()
			}()
		}
	}()
	health := rig.FreeAddress(t)
	r.TemporalAddress = listener.Addr().String()
	w := r.StartWorker("DM_HEALTH_ADDRESS=" + health)
	r.Eventually("it is ready", func() bool {
		select {
		case <-w.Exited:
			t.Fatal("it has ended")
		default:
		}
		r, err := http.Get("http://" + health + "/readyz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	if broken.Load() < 3 {
		t.Errorf("%d connections were broken", broken.Load())
	}
}
