package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"directmailer/internal/smtptest"
	"directmailer/workflows"
)

// fault is a way in which something breaks.
type fault struct {
	name               string
	postgres, temporal bool // breaks those, and so needs servers of its own
	directory          bool // is about a drop directory
	inject             func(*scene) injury
}

// injury is what a fault has done.
type injury struct {
	over time.Time
	// connections with a message that may have been in flight when they broke: the most duplicates there can be.
	connections int
}

var faults []fault

func init() { // one of them is made of the others
	faults = []fault{
		{name: "worker-killed", inject: (*scene).killWorker},
		{name: "worker-stopped", inject: (*scene).stopWorker},
		{name: "postgres-killed", postgres: true, inject: (*scene).killPostgres},
		{name: "temporal-killed", temporal: true, inject: (*scene).killTemporal},
		{name: "smtp-server-killed", inject: (*scene).killServer},
		{name: "cut-before-dot", inject: scripted(func(random *rand.Rand, phase string) *smtptest.Action {
			return in(phase, "BODY", &smtptest.Action{Die: true})
		})},
		{name: "cut-after-dot", inject: scripted(func(random *rand.Rand, phase string) *smtptest.Action {
			return in(phase, "DOT", &smtptest.Action{Die: true, Accept: random.IntN(2) == 0})
		})},
		{name: "cut-in-the-250", inject: scripted(func(random *rand.Rand, phase string) *smtptest.Action {
			return in(phase, "DOT", &smtptest.Action{Cut: true})
		})},
		{name: "half-open", inject: scripted(func(random *rand.Rand, phase string) *smtptest.Action {
			return in(phase, "DOT", &smtptest.Action{Wait: later(hang()), Die: true, Accept: random.IntN(2) == 0})
		})},
		{name: "slow-server", inject: slowServer},
		{name: "421", inject: scripted(func(random *rand.Rand, phase string) *smtptest.Action {
			phases := []string{"connect", "MAIL", "RCPT", "DATA", "DOT"}
			return in(phase, phases[random.IntN(len(phases))], &smtptest.Action{Reply: "421 4.3.2 closing down"})
		})},
		{name: "disk-full", directory: true, inject: (*scene).fillDisk},
		{name: "everything", postgres: true, temporal: true, inject: everything},
	}
}

// in is the action, if it is for the phase.
func in(phase, wanted string, a *smtptest.Action) *smtptest.Action {
	if phase == wanted {
		return a
	}
	return nil
}

func later(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// hang is how long a connection hangs that will never be answered: a server's own patience ends before ours, which is ten minutes.
func hang() time.Duration {
	if *chaosLong {
		return 20 * time.Second
	}
	return 2 * time.Second
}

// outage is a random time, up to three seconds.
func (s *scene) outage() { time.Sleep(time.Duration(s.random.IntN(3000)) * time.Millisecond) }

func (s *scene) killWorker() injury {
	i := s.random.IntN(chaosWorkers)
	s.three[i].kill()
	<-s.three[i].exited
	s.three[i] = s.startWorker()
	return injury{time.Now(), lanes}
}

// stopWorker stops a worker for longer than Temporal believes in it: its batches are given to others meanwhile.
func (s *scene) stopWorker() injury {
	pause := 14 * time.Second
	if *chaosLong {
		pause = time.Minute
	}
	w := s.three[s.random.IntN(chaosWorkers)]
	w.signal(syscall.SIGSTOP)
	stopped := time.Now()
	time.Sleep(pause)
	w.signal(syscall.SIGCONT)
	time.Sleep(100 * time.Millisecond) // it may send what it has in flight now
	return injury{stopped, lanes}
}

func (s *scene) killPostgres() injury {
	s.own.postgres.Kill()
	s.outage()
	if err := s.own.restartPostgres(); err != nil {
		s.Error(err)
	}
	return injury{time.Now(), chaosWorkers * lanes}
}

func (s *scene) killTemporal() injury {
	s.own.temporal.Kill()
	s.outage()
	if err := s.own.restartTemporal(); err != nil {
		s.Error(err)
	}
	return injury{time.Now(), chaosWorkers * lanes}
}

func (s *scene) killServer() injury {
	s.mail.stop()
	s.outage()
	s.mail.start()
	return injury{time.Now(), chaosWorkers * lanes}
}

// scripted lets connections break, one here and one there, during a fifth of the mailing.
func scripted(action func(random *rand.Rand, phase string) *smtptest.Action) func(*scene) injury {
	return func(s *scene) injury {
		random := rand.New(rand.NewPCG(s.random.Uint64(), 0))
		var mu sync.Mutex
		broken := 0
		s.mail.play(func(e smtptest.Event) *smtptest.Action {
			mu.Lock()
			defer mu.Unlock()
			if broken >= 40 || random.IntN(20) > 0 {
				return nil
			}
			a := action(random, e.Phase)
			if a != nil {
				broken++
			}
			return a
		})
		s.until(min(s.mail.count()+*chaosRecipients/5, *chaosRecipients*95/100))
		s.mail.play(nil)
		mu.Lock()
		defer mu.Unlock()
		return injury{time.Now(), broken}
	}
}

func slowServer(s *scene) injury {
	random := rand.New(rand.NewPCG(s.random.Uint64(), 0))
	var mu sync.Mutex
	s.mail.play(func(e smtptest.Event) *smtptest.Action {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(4) > 0 {
			return nil
		}
		return &smtptest.Action{Wait: later(time.Duration(random.IntN(200)) * time.Millisecond)}
	})
	s.until(min(s.mail.count()+*chaosRecipients/5, *chaosRecipients*95/100))
	s.mail.play(nil)
	return injury{time.Now(), 0}
}

// everything breaks, each at a moment of its own.
func everything(s *scene) injury {
	var mu sync.Mutex
	var all injury
	var wg sync.WaitGroup
	done := map[string]bool{}
	for _, f := range faults {
		if f.directory || f.name == "everything" || done[f.name] {
			continue
		}
		done[f.name] = true
		own := *s // a source of chance of its own: they run side by side
		own.random = rand.New(rand.NewPCG(s.random.Uint64(), 0))
		at := time.Duration(own.random.IntN(5000)) * time.Millisecond
		wg.Go(func() {
			time.Sleep(at)
			mu.Lock()
			script := strings.HasPrefix(f.name, "cut-") || f.name == "half-open" || f.name == "slow-server" || f.name == "421"
			mu.Unlock()
			if script && s.mail.count() >= *chaosRecipients*9/10 {
				return // too late to break anything
			}
			hurt := f.inject(&own)
			mu.Lock()
			defer mu.Unlock()
			all.connections += hurt.connections
			if hurt.over.After(all.over) {
				all.over = hurt.over
			}
		})
	}
	wg.Wait()
	return all
}

const (
	enough = "1g"
)

// smallDisk is a folder on a disk of its own that is full long before the mailing is over; empty where none can be made.
func smallDisk(t *testing.T) string {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		fmt.Println("disk-full: SKIPPED: a small disk can only be mounted by root on Linux")
		t.Skip("needs root on Linux, for a disk of its own")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+enough, "tmpfs", dir).CombinedOutput(); err != nil {
		fmt.Printf("disk-full: SKIPPED: no small disk can be mounted here: %v: %s\n", err, out)
		t.Skip("no disk can be mounted")
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir
}

// fillDisk shrinks the disk to less than what is on it, and makes it large again when the mailing has noticed.
func (s *scene) fillDisk() injury {
	resize := func(size string) {
		if out, err := exec.Command("mount", "-o", "remount,size="+size, s.mail.dir).CombinedOutput(); err != nil {
			s.Errorf("%v: %s", err, out)
		}
	}
	filler := s.mail.dir + "/filler"
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err != nil {
		s.Error(err)
	}
	used := s.mail.count() * 8 << 10 // more than they take
	resize(fmt.Sprint(used + 1<<20))
	_ = exec.Command("fallocate", "-l", "1g", filler).Run() // whatever is left
	s.fill(filler)
	s.eventually("the drop point has failed", func() bool {
		st, err := s.status()
		return err == nil && (st.State.Ended() || st.State == workflows.StateSuspended || st.DropPoints[0].LastFailure != "" || s.pendingFailure())
	})
	_ = os.Remove(filler)
	resize(enough)
	return injury{time.Now(), 0}
}

// fill takes what is left of the disk.
func (s *scene) fill(path string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		s.Error(err)
		return
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 1 << 12, 1} {
		block := make([]byte, size)
		for err = nil; err == nil; _, err = f.Write(block) {
		}
	}
}

// pendingFailure tells whether an activity of the mailing waits to be tried again.
func (s *scene) pendingFailure() bool {
	d, err := s.temporal.DescribeWorkflowExecution(s.Context(), s.id(), "")
	if err != nil {
		return false
	}
	for _, a := range d.PendingActivities {
		if a.LastFailure != nil {
			return true
		}
	}
	return false
}
