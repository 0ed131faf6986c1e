package servers

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	module "directmailer/tools/temporal"
)

// temporalPackages is the approximate number of packages of the server. It only serves to show the
// progress of a build.
const temporalPackages = 1300

const orInstall = "to go on, install the Temporal CLI (https://docs.temporal.io/cli) so that `temporal` is on " +
	"PATH, or set TEMPORAL_ADDRESS to a server that you have"

// TemporalBinary returns the path of a `temporal` command: the one on PATH, the one built before,
// or one that it builds now from tools/temporal. The build takes some minutes, and progress says
// so.
func TemporalBinary(ctx context.Context, progress Progress) (string, error) {
	if path, err := exec.LookPath("temporal"); err == nil && works(ctx, path) {
		return path, nil
	}
	path, err := cachedTemporal()
	if err != nil {
		return "", err
	}
	if works(ctx, path) {
		return path, nil
	}
	unlock, err := lockBuild(ctx, path, progress.orSilent())
	if err != nil {
		return "", fmt.Errorf("build the Temporal server: %w", err)
	}
	defer unlock()
	if works(ctx, path) { // another process has built the command meanwhile
		return path, nil
	}
	if err := buildTemporal(ctx, path, progress.orSilent()); ctx.Err() != nil {
		return "", fmt.Errorf("build the Temporal server: %w; what is compiled is kept for the next time", ctx.Err())
	} else if err != nil {
		return "", fmt.Errorf("build the Temporal server: %w; %s", err, orInstall)
	}
	return path, nil
}

// works reports whether the command runs. A file for another kind of machine does not.
func works(ctx context.Context, temporal string) bool {
	return exec.CommandContext(ctx, temporal, "--version").Run() == nil
}

var cliVersion = regexp.MustCompile(`github\.com/temporalio/cli (v\S+)`)

// cachedTemporal returns the path of the command that was built. All checkouts share it. The name
// has the version and a digest of the module file, because the file also sets the versions of the
// server's dependencies.
func cachedTemporal() (string, error) {
	version := cliVersion.FindSubmatch(module.Mod)
	if version == nil {
		return "", errors.New("tools/temporal/temporal.mod names no version of the Temporal CLI")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for built programs: %w", err)
	}
	digest := sha256.Sum256(module.Mod)
	return filepath.Join(cache, "directmailer", fmt.Sprintf("temporal-%s-%x", version[1], digest[:4])), nil
}

// lockBuild lets one process build at a time: the tests of several packages start together.
func lockBuild(ctx context.Context, path string, progress Progress) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		if !told {
			progress("another process is building the Temporal server: waiting for it")
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// buildTemporal builds into a file of its own and renames it, so that an interrupted build leaves
// no command. Compiled packages stay in Go's cache, and the next build goes on from there.
func buildTemporal(ctx context.Context, path string, progress Progress) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return errors.New("there is no `go` on PATH to build it with")
	}
	dir, err := os.MkdirTemp("", "direct-mailer-temporal-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "go.mod"), module.Mod, 0o600),
		os.WriteFile(filepath.Join(dir, "go.sum"), module.Sum, 0o600)); err != nil {
		return err
	}
	progress("no `temporal` is on PATH: building the Temporal server from source, once "+
		"(4 to 10 minutes on 2 cores; it is kept in %s)", filepath.Dir(path))
	progress("to save that time, press Ctrl-C, install the Temporal CLI (`brew install temporal`, or an archive " +
		"from https://docs.temporal.io/cli), and start again")
	unfinished := path + ".new"
	defer os.Remove(unfinished)
	cmd := exec.Command(goTool, "build", "-v", "-o", unfinished, module.Program)
	cmd.Dir = dir
	// removed with dir, also after an interrupted build
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "GOTMPDIR="+dir)
	if err := follow(ctx, cmd, progress); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}

// follow runs `go build -v` and reports its progress every ten seconds. The error has the last
// lines of the output that are no package names.
func follow(ctx context.Context, cmd *exec.Cmd, progress Progress) error {
	read, write := io.Pipe()
	cmd.Stderr = write
	var downloaded, compiled atomic.Int64
	said := make(chan []string)
	go func() {
		var other []string
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, "go: downloading "):
				downloaded.Add(1)
			case isPackage.MatchString(line):
				compiled.Add(1)
			default:
				other = append(other[max(0, len(other)-19):], line)
			}
		}
		_, _ = io.Copy(io.Discard, read) // so that a line that is too long does not block the build
		said <- other
	}()
	done := make(chan struct{})
	go func() {
		began := time.Now()
		ticker := time.NewTicker(10 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				progress("  %v: %d modules downloaded, %d of at most %d packages compiled",
					time.Since(began).Round(time.Second), downloaded.Load(), compiled.Load(), temporalPackages)
			}
		}
	}()
	err := run(ctx, cmd, 5*time.Second)
	close(done)
	_ = write.Close()
	if other := <-said; err != nil && ctx.Err() == nil && len(other) > 0 {
		return fmt.Errorf("%w\n%s", err, strings.Join(other, "\n"))
	}
	return err
}

// isPackage matches the import path that `go build -v` prints for a package.
var isPackage = regexp.MustCompile(`^[\w./~-]+$`)
