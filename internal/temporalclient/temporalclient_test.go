package temporalclient_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// These tests set variables of the process, so they run one after the other.

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// dial connects to the address as a worker does that is told nothing else.
func dial(t *testing.T, address, namespace string) (*temporalclient.Client, error) {
	t.Helper()
	t.Setenv("TEMPORAL_CONFIG_FILE", t.TempDir()+"/none.toml")
	t.Setenv("TEMPORAL_ADDRESS", address)
	t.Setenv("TEMPORAL_NAMESPACE", namespace)
	c, err := temporalclient.Dial(t.Context(), quiet)
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func TestSearchAttributesAreRegisteredOnceHoweverManyWorkersBegin(t *testing.T) {
	c, err := dial(t, servertest.OwnTemporal(t, nil).Address(), "default")
	if err != nil {
		t.Fatal(err)
	}
	url := servertest.Database(t)
	all := servertest.Pool(t, url, 2)
	unlock, err := database.Lock(t.Context(), all, "search attributes of Direct Mailer")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var errs [8]error
	var ended atomic.Int32
	for i := range errs {
		pool := servertest.Pool(t, url, 1)
		group.Go(func() {
			_, errs[i] = c.RegisterSearchAttributes(t.Context(), pool)
			ended.Add(1)
		})
	}
	for waiting := 0; waiting < len(errs) && err == nil && t.Context().Err() == nil; {
		err = all.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting)
		if ended.Load() > 0 {
			unlock()
			t.Fatal("a client has registered them while another one held the lock")
		}
	}
	unlock()
	if err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Error(err)
	}
	described, err := c.WorkflowService().DescribeNamespace(t.Context(),
		&workflowservice.DescribeNamespaceRequest{Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Values(described.Config.CustomSearchAttributeAliases))
	want := []string{workflows.ListAttribute.GetName(), workflows.StateAttribute.GetName()}
	if !slices.Equal(got, want) {
		t.Errorf("the namespace has %q, want %q", got, want)
	}
}

func TestATemporalThatIsAwayIsNamedByItsAddress(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, err = dial(t, address, "")
	if want := "reach Temporal at " + address + ": connection refused"; err == nil ||
		!temporalclient.Unreachable(err) ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAServerThatIsNoTemporalIsSaidToBeThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	_, err = dial(t, listener.Addr().String(), "")
	if err == nil || !temporalclient.Unreachable(err) || !strings.Contains(err.Error(), "does not answer as Temporal") {
		t.Errorf("got %v", err)
	}
}

func TestANamespaceThatIsNotThereIsNamed(t *testing.T) {
	c, err := dial(t, servertest.Temporal(t), "nosuch")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckNamespace(t.Context()); err == nil || !strings.Contains(err.Error(), `no namespace "nosuch"`) {
		t.Errorf("got %v", err)
	}
	c.Namespace = "default"
	if err := c.CheckNamespace(t.Context()); err != nil {
		t.Errorf("the default namespace: %v", err)
	}
}

func TestASettingThatCannotBeReadIsAnErrorOfTheSettings(t *testing.T) {
	t.Setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", t.TempDir()+"/missing.pem")
	t.Setenv("TEMPORAL_TLS_CLIENT_KEY_PATH", t.TempDir()+"/missing.key")
	if _, err := dial(t, "127.0.0.1:1", ""); !errors.As(err, new(*temporalclient.SettingsError)) ||
		temporalclient.Unreachable(err) {
		t.Errorf("got %v, want an error of the settings", err)
	}
}

func TestOnlyAnAbsentServerIsUnreachable(t *testing.T) {
	for err, want := range map[error]bool{
		serviceerror.NewUnavailable("x"):         true,
		context.DeadlineExceeded:                 true,
		serviceerror.NewPermissionDenied("", ""): false,
		serviceerror.NewNotFound("x"):            false,
		context.Canceled:                         false,
	} {
		if got := temporalclient.Unreachable(err); got != want {
			t.Errorf("%v: unreachable is %t", err, got)
		}
	}
}
