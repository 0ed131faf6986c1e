package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// mutant is one fault.
type mutant struct {
	ID   string `yaml:"id"`   // unique
	Kind string `yaml:"kind"` // what the fault is about: the score is given for each kind
	// Grave is what happens to a recipient: "loses", "doubles", "blames", "mails" if the recipient
	// must not be mailed, or "misleads" if the message has what is for others. It is empty for every
	// other fault.
	Grave string `yaml:"grave"`
	// Breaks is the promise that the fault breaks.
	Breaks string `yaml:"breaks"`
	File   string `yaml:"file"`
	// Old is a text that the file has exactly once, New takes its place.
	Old string `yaml:"old"`
	New string `yaml:"new"`
	// Run names the tests that should notice the fault, separated by blanks. In is their package;
	// default: that of the list.
	Run string `yaml:"run"`
	In  string `yaml:"in"`
}

// list is a file of mutants.
type list struct {
	Package string   `yaml:"package"` // of the tests
	Mutants []mutant `yaml:"mutants"`
}

// readMutants reads the lists of a folder. Mutants whose tests are in one package come one after
// the other.
func readMutants(folder string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no list in %s", folder)
	}
	var all []mutant
	seen := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var l list
		decoder := yaml.NewDecoder(bytes.NewReader(data))
		decoder.KnownFields(true)
		if err := decoder.Decode(&l); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, m := range l.Mutants {
			if m.In == "" {
				m.In = l.Package
			}
			m.Old, m.New = strings.TrimSuffix(m.Old, "\n"), strings.TrimSuffix(m.New, "\n")
			if err := m.check(); err != nil {
				return nil, fmt.Errorf("%s: mutant %s: %w", file, m.ID, err)
			}
			if seen[m.ID] {
				return nil, fmt.Errorf("%s: two mutants have the id %s", file, m.ID)
			}
			seen[m.ID] = true
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b mutant) int { return strings.Compare(a.In, b.In) })
	return all, nil
}

func (m *mutant) check() error {
	switch {
	case m.ID == "" || m.Kind == "" || m.Breaks == "" || m.File == "" || m.Old == "" || m.Run == "" || m.In == "":
		return errors.New("id, kind, breaks, file, old, run and a package are needed")
	case m.Old == m.New:
		return errors.New("old and new are the same")
	case !slices.Contains([]string{"", "loses", "doubles", "blames", "mails", "misleads"}, m.Grave):
		return errors.New("grave must be loses, doubles, blames, mails or misleads, or left out")
	}
	return nil
}

// pattern is what -test.run takes.
func pattern(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }

// state is what became of a mutant.
type state string

const (
	noticed   state = "noticed"
	unnoticed state = "UNNOTICED"
	stale     state = "STALE"
)

// result is what the tests made of a mutant.
type result struct {
	mutant
	state state
	by    string // the test that noticed it, or why it is stale
	took  time.Duration
}

func (r result) line() string {
	grave := ""
	if r.Grave != "" {
		grave = " (" + r.Grave + ")"
	}
	return fmt.Sprintf("%-9s %5.1fs  %s: %s%s  %s", r.state, r.took.Seconds(), r.In, r.ID, grave, r.by)
}

// baseline compiles each package's tests without a mutant, and runs all that mutants name. They
// must pass.
func (b *runner) baseline(ctx context.Context, all []mutant) error {
	named := map[string][]string{}
	for _, m := range all {
		named[m.In] = append(named[m.In], strings.Fields(m.Run)...)
	}
	packages := make([]string, 0, len(named))
	for p := range named {
		packages = append(packages, p)
	}
	slices.Sort(packages)
	for _, p := range packages {
		began := time.Now()
		binary := filepath.Join(b.work, "baseline.test")
		if out, err := b.compile(ctx, p, binary, ""); err != nil {
			return fmt.Errorf("compile the tests of %s: %w\n%s", p, err, out)
		}
		out, err := b.command(ctx, p, binary, "-test.list", ".").CombinedOutput()
		if err != nil {
			return fmt.Errorf("list the tests of %s: %w\n%s", p, err, out)
		}
		b.tests[p] = "\n" + string(out)
		names := slices.Compact(slices.Sorted(slices.Values(named[p])))
		out, err = b.command(ctx, p, binary, "-test.run", pattern(names), "-test.timeout", "10m").CombinedOutput()
		if err != nil {
			return fmt.Errorf("the tests of %s fail without a mutant: %w\n%s", p, err, out)
		}
		fmt.Printf("%s: %d tests pass without a mutant, %.1fs\n", p, len(names), time.Since(began).Seconds())
	}
	return nil
}

// try compiles the tests with a mutant and runs them. slot tells apart the mutants that are tried
// at the same time.
func (b *runner) try(ctx context.Context, slot int, m mutant) (r result) {
	r = result{mutant: m, state: stale}
	began := time.Now()
	defer func() { r.took = time.Since(began) }()
	for _, name := range strings.Fields(m.Run) {
		if !strings.Contains(b.tests[m.In], "\n"+name+"\n") {
			r.by = "no test is named " + name
			return r
		}
	}
	dir := filepath.Join(b.work, fmt.Sprint("slot", slot))
	overlay, err := b.overlay(dir, m)
	if err != nil {
		r.by = err.Error()
		return r
	}
	binary := filepath.Join(dir, "mutant.test")
	if out, err := b.compile(ctx, m.In, binary, overlay); err != nil {
		r.by = "does not compile: " + lastLine(out)
		return r
	}
	tests := b.command(ctx, m.In, binary, "-test.run", pattern(strings.Fields(m.Run)), "-test.failfast",
		"-test.timeout", b.limit.String())
	// Programs that the tests build have the fault as well.
	tests.Env = append(tests.Env, strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay))
	out, err := tests.CombinedOutput()
	if err == nil {
		r.state = unnoticed
		return r
	}
	r.state, r.by = noticed, "by "+failed(out)
	return r
}

// overlay writes the mutated file, and the description of it that the go command takes.
func (b *runner) overlay(dir string, m mutant) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	original := filepath.Join(b.tree, m.File)
	source, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("there is no file %s", m.File)
	}
	if n := bytes.Count(source, []byte(m.Old)); n != 1 {
		return "", fmt.Errorf("the old text is there %d times", n)
	}
	mutated := filepath.Join(dir, "mutated"+filepath.Ext(m.File))
	if err := os.WriteFile(mutated, bytes.Replace(source, []byte(m.Old), []byte(m.New), 1), 0o644); err != nil {
		return "", err
	}
	description, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mutated}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, description, 0o644)
}

// compile builds a package's test binary.
func (b *runner) compile(ctx context.Context, pkg, binary, overlay string) ([]byte, error) {
	args := []string{"test", "-c", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	c := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...)
	c.Dir, c.Env = b.tree, b.env
	return c.CombinedOutput()
}

func (b *runner) command(ctx context.Context, pkg, binary string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, binary, args...)
	c.Dir, c.Env = filepath.Join(b.tree, pkg), b.env
	c.WaitDelay = 10 * time.Second
	return c
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// failed names the first test that failed.
func failed(out []byte) string {
	if m := failure.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	switch {
	case bytes.Contains(out, []byte("panic: test timed out")):
		return "a test that hangs"
	case bytes.Contains(out, []byte("panic:")):
		return "a panic"
	}
	return "the exit code: " + lastLine(out)
}

func lastLine(out []byte) string {
	text := strings.TrimSpace(string(out))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
