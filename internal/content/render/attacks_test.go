package render

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"directmailer/internal/audience/field"
)

// Limits of one attack: what this package promises, with room for a busy machine. An attack that is
// not stopped takes minutes to days, or gigabytes.
const (
	attackSeconds = 60
	attackMemory  = 700 << 20
)

// inOneProcess is how many attacks one process runs, one after the other.
const inOneProcess = 12

// TestAttacksEndWithinTheirBudget runs the attacks in processes of their own, which end when one of
// them takes too much memory or processor time.
func TestAttacksEndWithinTheirBudget(t *testing.T) {
	t.Parallel()
	if os.Getenv("RENDER_ATTACK") != "" {
		t.Skip("this is the process of an attack")
	}
	if testing.Short() {
		t.Skip("these take ten seconds")
	}
	program := withoutRaceDetector(t)
	for all, first := attacks(), 0; first < len(all); first += inOneProcess {
		t.Run(fmt.Sprint("from ", first), func(t *testing.T) {
			t.Parallel()
			runAttacks(t, program, all[first:min(first+inOneProcess, len(all))], first)
		})
	}
}

// withoutRaceDetector returns the path of this test binary, built without the race detector if it
// has one. Each attack is one goroutine, and takes many times as long under the race detector.
func withoutRaceDetector(t *testing.T) string {
	info, ok := debug.ReadBuildInfo()
	if !ok || !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return os.Args[0]
	}
	program := filepath.Join(t.TempDir(), "render.test")
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build the tests without the race detector: %v\n%s", err, out)
	}
	return program
}

func runAttacks(t *testing.T, program string, attacks []attack, first int) {
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestOneAttack$", "-test.count=1")
	cmd.Env = append(os.Environ(), fmt.Sprint("RENDER_ATTACK=", first))
	out, err := cmd.CombinedOutput()
	lines := strings.Split(string(out), "\n")
	for i, a := range attacks {
		if i+1 >= len(lines) || !strings.Contains(lines[i], "\t") {
			t.Fatalf("%s: %v: %.500s", a.name, err, strings.Join(lines[min(i, len(lines)):], "\n"))
		}
		result, used, _ := strings.Cut(lines[i], "\t")
		t.Logf("%s: %s (%s)", a.name, result, used)
		if a.want == "" && result != "a message" || !strings.Contains(result, a.want) {
			t.Errorf("%s: got %q, want %q", a.name, result, a.want)
		}
	}
}

// TestOneAttack is the process of some attacks.
func TestOneAttack(t *testing.T) {
	first, err := strconv.Atoi(os.Getenv("RENDER_ATTACK"))
	if err != nil {
		t.Skip("TestAttacksEndWithinTheirBudget starts it")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CPU, &limit); err != nil {
		t.Fatal(err)
	}
	watch := watchMemory()
	for i, a := range attacks()[first:] {
		if i == inOneProcess {
			break
		}
		before := processorTime()
		limit.Cur = uint64(before/time.Second) + attackSeconds
		if err := syscall.Setrlimit(syscall.RLIMIT_CPU, &limit); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		watch()
		result := a.run(t)
		fmt.Printf("%s\t%s, %d MiB\n", result, (processorTime() - before).Round(time.Millisecond), watch()>>20)
	}
	os.Exit(0)
}

// processorTime is what the process has used.
func processorTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// watchMemory ends the process when it takes too much memory. The function that it returns says how
// much it took since its last call.
func watchMemory() (most func() uint64) {
	var highest uint64
	ask, answer := make(chan struct{}), make(chan uint64)
	go func() {
		ticker := time.NewTicker(2 * time.Millisecond)
		for {
			select {
			case <-ticker.C:
				if highest = max(highest, memoryInUse()); highest > attackMemory {
					fmt.Printf("too much memory: %d MiB\n", highest>>20)
					os.Exit(1)
				}
			case <-ask:
				answer <- highest
				highest = 0
			}
		}
	}()
	return func() uint64 { ask <- struct{}{}; return <-answer }
}

// memoryInUse is what the process has allocated and not freed.
func memoryInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() + sample[1].Value.Uint64()
}

func (a *attack) run(t *testing.T) string {
	s := a.spec
	s.Mailing, s.From, s.Date = "attack", "news@example.com", time.Unix(0, 0)
	if s.Subject == "" {
		s.Subject = "Hello"
	}
	template, problems := Compile(s)
	if len(problems) > 0 {
		return problems[0].Error()
	}
	to := Recipient{Number: 1, Address: "anna@example.org", Attributes: field.Values{"x": {Text: a.value}}}
	if s.Page {
		to.Page.HTML = []byte(a.value)
	}
	r := template.NewRenderer(t.Context())
	if os.Getenv("RENDER_ATTACK_FULL") == "" && !a.whole { // few steps show the same
		r.budget.most = fewSteps
	}
	_, _, err := r.Render(nil, to)
	var problem *Problem
	switch {
	case err == nil:
		return "a message"
	case !errors.As(err, &problem):
		return "not a problem of the recipient: " + err.Error()
	}
	return problem.Error()
}
