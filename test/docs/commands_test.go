package docs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"directmailer/internal/dev/servers"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/workflows"
)

func TestMain(m *testing.M) {
	servertest.Parallel(4)
	os.Exit(servertest.Main(m))
}

// patience is for a machine that does much else at the same time, with the race detector.
const patience = 5 * time.Minute

func TestEveryCommandOfThePagesDoesWhatThePageSays(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, p := range pages(t) {
		all, err := blocks(p)
		if err != nil {
			t.Error(err)
			continue
		}
		toRun := false
		for _, b := range all {
			toRun = toRun || b.skip == ""
		}
		if !toRun {
			continue
		}
		ran++
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t)
			for _, b := range all {
				if b.skip == "" {
					s.run(b)
				}
			}
		})
	}
	if ran < 8 {
		t.Errorf("only %d pages have commands that can be run", ran)
	}
}

// sandbox is a folder that looks like a checkout, with a database, a namespace of Temporal, a
// worker and drop points of its own.
type sandbox struct {
	t      *testing.T
	dir    string
	env    []string
	client client.Client
}

func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it needs servers, and takes a while")
	}
	s := &sandbox{t: t, dir: folder(t)}
	temporal, err := servers.TemporalBinary(t.Context(), servers.Silent)
	if err != nil {
		t.Fatal(err)
	}
	s.link(temporal, "bin/temporal")
	s.link(servertest.Build(t, "./starter"), "bin/starter")
	s.link(servertest.Build(t, "./worker"), "bin/worker")
	for _, name := range []string{"Makefile", "docker-compose.yml", "go.mod", "go.sum", "examples", "workflows",
		"internal"} {
		path, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		s.link(path, name)
	}
	relay := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && strings.HasPrefix(e.To, "unanswered@") {
			return &smtptest.Action{Die: true, Accept: true}
		}
		return nil
	}})
	namespace := s.namespace()
	for _, name := range []string{"HOME", "TMPDIR", "GOCACHE", "GOPATH", "GOMODCACHE", "GOFLAGS", "GOPROXY", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			s.env = append(s.env, name+"="+value)
		}
	}
	s.env = append(s.env,
		"PATH="+filepath.Join(s.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"DATABASE_URL="+servertest.Database(t),
		"TEMPORAL_ADDRESS="+servertest.Temporal(t), "TEMPORAL_NAMESPACE="+namespace, "TEMPORAL_CONFIG_FILE="+os.DevNull,
		"DM_DROP_POINTS=drop=dir:"+s.mkdir("drop")+" mx=dir:"+s.mkdir("mx")+" relay=smtp://"+relay.Addr()+"?tls=none",
		"DM_STOP_TIMEOUT=5s",
		"DM_TOKEN_KEYS=keys-of-tests-are-known-to-everybody", "DM_PUBLIC_URL=https://mail.example.com")
	s.worker()
	return s
}

// folder is a temporary folder with a short name, which tables show.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dm-docs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *sandbox) mkdir(name string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *sandbox) link(target, name string) {
	s.t.Helper()
	s.mkdir(filepath.Dir(name))
	if err := os.Symlink(target, filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

var namespaces atomic.Int64

// namespace makes a namespace: the pages use the same IDs of mailings, and the default task queue.
func (s *sandbox) namespace() string {
	s.t.Helper()
	name := fmt.Sprintf("docs-%d-%d", os.Getpid(), namespaces.Add(1))
	options := client.Options{HostPort: servertest.Temporal(s.t)}
	admin, err := client.NewNamespaceClient(options)
	if err != nil {
		s.t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.Register(s.t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	}); err != nil {
		s.t.Fatal(err)
	}
	options.Namespace = name
	if s.client, err = client.Dial(options); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.client.Close)
	s.until("Temporal knows the new namespace", func() bool {
		_, err := s.client.ListWorkflow(s.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: name})
		return err == nil
	})
	return name
}

// worker runs a worker until the test ends.
func (s *sandbox) worker() {
	s.t.Helper()
	s.must("starter migrate")
	log, err := os.Create(filepath.Join(s.dir, "worker.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(s.dir, "bin", "worker"))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		log.Close()
		if s.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			s.t.Logf("the worker's log:\n%s", text)
		}
	})
	s.until("the worker asks Temporal for work", func() bool {
		_, code := s.shell("starter check")
		return code == 0
	})
}

// run makes what the block needs, and runs its commands in one shell. Of `make` it only looks
// whether it has such a target.
func (s *sandbox) run(b block) {
	s.t.Helper()
	for _, what := range b.setup {
		s.setup(what[0], what[1])
	}
	out, code := s.shell("make() { command make --dry-run \"$@\" >/dev/null; }\n" + b.text)
	if code != b.code {
		s.t.Fatalf("%s:%d: exit code %d, want %d:\n%s\n%s", b.page, b.number, code, b.code, b.text, out)
	}
	s.t.Logf("%s:%d: exit code %d\n%s", b.page, b.number, code, b.text)
}

func (s *sandbox) must(script string) {
	s.t.Helper()
	if out, code := s.shell(script); code != 0 {
		s.t.Fatalf("%s: exit code %d\n%s", script, code, out)
	}
}

// shell runs a script until a command fails, and returns everything that was printed.
func (s *sandbox) shell(script string) (out string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if ctx.Err() != nil {
		s.t.Fatalf("%s has not ended:\n%s", script, text)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// setup prepares a mailing, or a list, that a page takes for granted.
func (s *sandbox) setup(kind, id string) {
	s.t.Helper()
	switch kind {
	case "list":
		s.list(id, "ann@example.com,Ann,York,gold,1", "bob@example.com,Bob,Bath,free,2")
	case "completed":
		s.start(id, "")
		s.end(id)
	case "running":
		s.start(id, "rates: {mailing: 1/min}")
	case "cancelled":
		s.start(id, "rates: {mailing: 1/min}")
		s.must("starter cancel " + id)
		s.end(id)
	case "terminated":
		s.start(id, "rates: {mailing: 1/min}")
		if err := s.client.TerminateWorkflow(s.t.Context(), id, "", "a test"); err != nil {
			s.t.Fatal(err)
		}
	case "uncertain":
		s.start(id, "drop_points: [relay]\non_uncertain: hold", "unanswered@example.com,Una,York,gold,1")
		s.end(id)
	default:
		s.t.Fatalf("setup %s: there is no such kind", kind)
	}
}

// list stores a list with the columns of the examples.
func (s *sandbox) list(name string, rows ...string) {
	s.t.Helper()
	s.write(name+".csv", "email,first_name,city,plan,points\n"+strings.Join(rows, "\n")+"\n")
	s.must("starter list import " + name + " " + name + ".csv --replace")
}

func (s *sandbox) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start starts a mailing and waits until it sends, or has ended. It has so many recipients that one
// that the commands of a page slow down does not end before the next command. More rows may follow.
func (s *sandbox) start(id, settings string, rows ...string) {
	s.t.Helper()
	for n := range 60 {
		rows = append(rows, fmt.Sprintf("r%d@example.com,Bob,Bath,free,%d", n, n))
	}
	s.list("readers", rows...)
	s.write(id+".yaml", "from: news@example.com\nsubject: News\nlist: readers\n"+
		"content: {text: 'Hello {{.first_name}}'}\n"+settings+"\n")
	s.must("starter start -f " + id + ".yaml --id " + id)
	s.until(id+" sends", func() bool {
		var status workflows.Status
		answer, err := s.client.QueryWorkflow(s.t.Context(), id, "", workflows.StatusQuery)
		if err != nil || answer.Get(&status) != nil {
			return false
		}
		return status.State == workflows.StateSending || status.State.Ended()
	})
}

// end waits for the end of a mailing, whatever it is.
func (s *sandbox) end(id string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_ = s.client.GetWorkflow(ctx, id, "").Get(ctx, nil)
	if ctx.Err() != nil {
		s.t.Fatalf("%s does not end", id)
	}
}

func (s *sandbox) until(what string, condition func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}
