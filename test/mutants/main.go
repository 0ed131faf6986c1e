// Command mutants puts small faults into a copy of the source, one at a time, and shows which of
// them the tests notice.
//
// Each *.yaml file of this folder lists faults (mutants). A mutant replaces one text of one file,
// and names the tests that should notice it. The program never changes the work tree. It compiles
// each mutant with the -overlay flag of the go command, runs the tests that the mutant names, and
// prints one line for each mutant, a table of the kinds, and one JSON object.
//
// The exit code is 1 if a grave mutant (a recipient is lost, mailed twice, wrongly blamed,
// mailed against a request, or gets what is for others) goes unnoticed, if the score is below 95 %,
// or if a mutant is stale. A stale mutant does not fit the source any more: its text is not there
// exactly once, the result does not compile, or a test that it names does not exist. The exit code
// is 2 if the tests fail without a mutant.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"directmailer/internal/dev/servers"
)

// least is the lowest score, in percent of all mutants.
const least = 95

func main() {
	var o options
	flag.StringVar(&o.only, "only", "",
		"comma-separated `names`: run only the mutants with one of them as id, kind or package")
	flag.DurationVar(&o.limit, "limit", 2*time.Minute,
		"longest `time` of one mutant's tests; a test that hangs has noticed the fault")
	flag.StringVar(&o.write, "write", "", "`file` in which to replace the section about mutants; not with -only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	os.Exit(code)
}

type options struct {
	only, write string
	limit       time.Duration
}

// run returns the exit code.
func run(ctx context.Context, o options) (int, error) {
	all, err := readMutants("test/mutants")
	if err != nil {
		return 2, fmt.Errorf("read the mutants, in the folder of go.mod: %w", err)
	}
	chosen := choose(all, o.only)
	if len(chosen) == 0 {
		return 2, fmt.Errorf("no mutant has the id, kind or package %q", o.only)
	}
	work, err := os.MkdirTemp("", "dm-mutants-")
	if err != nil {
		return 2, err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil { // PostgreSQL runs as another user where we are root
		return 2, err
	}
	r, err := newRunner(ctx, work, o.limit)
	if err != nil {
		return 2, err
	}
	defer r.close()

	began := time.Now()
	if err := r.baseline(ctx, chosen); err != nil {
		return 2, err
	}
	results := r.tryAll(ctx, chosen, func(r result) { fmt.Println(r.line()) })
	if ctx.Err() != nil {
		return 2, errors.New("interrupted")
	}
	s := sum(results)
	s.Seconds = int(time.Since(began).Seconds())
	fmt.Printf("\n%s\n%s", s.table(), s.faults(results))
	fmt.Println(s.json())
	if o.write != "" && o.only == "" {
		if err := writeSection(o.write, s.section(results)); err != nil {
			return 2, err
		}
	}
	if !s.OK {
		return 1, nil
	}
	return 0, nil
}

// choose returns the mutants that have one of the names as id, kind or package; all without a name.
func choose(all []mutant, only string) []mutant {
	if only == "" {
		return all
	}
	names := strings.Split(only, ",")
	return slices.DeleteFunc(slices.Clone(all), func(m mutant) bool {
		return !slices.Contains(names, m.ID) && !slices.Contains(names, m.Kind) && !slices.Contains(names, m.In)
	})
}

// runner is a copy of the source, and a PostgreSQL for the tests.
type runner struct {
	work, tree string
	limit      time.Duration
	env        []string
	stop       func()
	tests      map[string]string // lists of the tests' names, by package
}

// newRunner copies the source below the working directory and starts the server.
func newRunner(ctx context.Context, work string, limit time.Duration) (*runner, error) {
	b := &runner{work: work, tree: filepath.Join(work, "tree"), limit: limit, stop: func() {},
		tests: map[string]string{}}
	if err := copyTree(".", b.tree); err != nil {
		return nil, fmt.Errorf("copy the source: %w", err)
	}
	scratch := filepath.Join(work, "tmp")
	if err := os.Mkdir(scratch, 0o1777); err != nil {
		return nil, err
	}
	if err := os.Chmod(scratch, 0o1777); err != nil {
		return nil, err
	}
	b.env = append(os.Environ(), "TMPDIR="+scratch)
	if os.Getenv("TEST_DATABASE_URL") != "" || os.Getenv("DATABASE_URL") != "" {
		return b, nil
	}
	// One server for all: starting one takes longer than most tests.
	say := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	if err := servers.InstallPostgres(ctx, os.Stderr, say); err != nil {
		return nil, err
	}
	server, err := servers.StartPostgres(ctx, servers.PostgresOptions{Dir: filepath.Join(work, "pg"), Throwaway: true})
	if err != nil {
		return nil, err
	}
	b.stop = func() { server.Stop(context.Background()) }
	b.env = append(b.env, "TEST_DATABASE_URL="+server.URL("postgres"))
	return b, nil
}

func (b *runner) close() { b.stop() }

// tryAll tries the mutants, two at a time: one is compiled while the tests of the other wait.
func (b *runner) tryAll(ctx context.Context, all []mutant, each func(result)) []result {
	results := make([]result, len(all))
	var mu sync.Mutex
	next := 0
	var workers sync.WaitGroup
	for n := range 2 {
		workers.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(all) || ctx.Err() != nil {
					return
				}
				r := b.try(ctx, n, all[i])
				mu.Lock()
				results[i] = r
				each(r)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return results
}

// copyTree copies the files of a folder, without what git and make keep there.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, path)
		switch {
		case d.IsDir() && (path == ".git" || path == "bin" || path == "tools/lint/bin"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
}
