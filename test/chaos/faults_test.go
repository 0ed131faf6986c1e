package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

// fault is a way in which something breaks.
type fault struct {
	name               string
	postgres, temporal bool // breaks those, and so needs servers of its own
	directory          directoryUse
	inject             func(*scene, *rand.Rand) injury
}

// directoryUse says whether mailings of a fault go to a drop directory on a small disk.
type directoryUse int

const (
	noDirectory directoryUse = iota
	besides                  // beside the SMTP server, where such a disk can be had
	alone                    // without it; the fault is skipped where there is none
)

// injury is what a fault has done.
type injury struct {
	over time.Time
	// bound is how many messages may have been accepted without the ledger's knowledge: one for each connection that broke after the dot
	// of a message, or with the process that held it.
	bound int
}

func (i injury) and(j injury) injury {
	if j.over.After(i.over) {
		i.over = j.over
	}
	i.bound += j.bound
	return i
}

var faults []fault

func init() { // one of them is made of the others
	faults = []fault{
		{name: "worker-killed", inject: (*scene).killWorker},
		{name: "worker-stopped", inject: (*scene).stopWorker},
		{name: "postgres-killed", postgres: true, inject: (*scene).killPostgres},
		{name: "temporal-killed", temporal: true, inject: (*scene).killTemporal},
		{name: "smtp-server-killed", inject: (*scene).killServer},
		{name: "cut-before-dot", inject: played(40, 20, cutBeforeDot)},
		{name: "cut-after-dot", inject: played(40, 20, cutAfterDot)},
		{name: "cut-in-the-250", inject: played(40, 20, cutInThe250)},
		{name: "half-open", inject: (*scene).halfOpen},
		{name: "slow-server", inject: played(1<<30, 1, slow)},
		{name: "421", inject: played(40, 20, closing)},
		{name: "disk-full", directory: alone, inject: (*scene).fillDisk},
		{name: "everything", postgres: true, temporal: true, directory: besides, inject: (*scene).everything},
	}
}

// trick is what the server does with an event, if it does anything, and whether the message counts as accepted without the client's
// knowledge.
type trick func(*rand.Rand, smtptest.Event) (a *smtptest.Action, unanswered bool)

func cutBeforeDot(_ *rand.Rand, e smtptest.Event) (*smtptest.Action, bool) {
	if e.Phase != "BODY" {
		return nil, false
	}
	return &smtptest.Action{Die: true}, false
}

func cutAfterDot(random *rand.Rand, e smtptest.Event) (*smtptest.Action, bool) {
	if e.Phase != "DOT" {
		return nil, false
	}
	accept := random.IntN(2) == 0
	return &smtptest.Action{Die: true, Accept: accept}, accept
}

func cutInThe250(_ *rand.Rand, e smtptest.Event) (*smtptest.Action, bool) {
	if e.Phase != "DOT" {
		return nil, false
	}
	return &smtptest.Action{Cut: true}, true
}

// hangUp never answers. It ends as it would in the world: a stateful firewall between, or the server, is out of patience before we are,
// who wait ten minutes for the answer to a dot.
func hangUp(random *rand.Rand, e smtptest.Event) (*smtptest.Action, bool) {
	pause, accept := 2*time.Second, random.IntN(2) == 0
	if *chaosLong {
		pause = 20 * time.Second
	}
	switch e.Phase {
	case "MAIL", "RCPT", "DATA":
		accept = false
		if random.IntN(3) > 0 {
			return nil, false
		}
	case "DOT":
	default:
		return nil, false
	}
	return &smtptest.Action{Wait: later(pause + time.Duration(random.IntN(int(pause/2)))), Die: true, Accept: accept}, accept
}

func slow(random *rand.Rand, _ smtptest.Event) (*smtptest.Action, bool) {
	pause := time.Duration(random.IntN(20)) * time.Millisecond
	if random.IntN(100) == 0 {
		pause *= 100
	}
	return &smtptest.Action{Wait: later(pause)}, false
}

func closing(random *rand.Rand, e smtptest.Event) (*smtptest.Action, bool) {
	phases := []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", "DOT"}
	if e.Phase != phases[random.IntN(len(phases))] {
		return nil, false
	}
	return &smtptest.Action{Reply: "421 4.3.2 closing down"}, false
}

func later(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// played has the server do a trick at one in so many events, during a fifth of the mailing, so many times at most.
func played(times, oneIn int, t trick) func(*scene, *rand.Rand) injury {
	return func(s *scene, random *rand.Rand) injury {
		var mu sync.Mutex
		var done, unanswered int
		end := s.mail.play(func(e smtptest.Event) *smtptest.Action {
			mu.Lock()
			defer mu.Unlock()
			if done >= times || random.IntN(oneIn) > 0 {
				return nil
			}
			a, without := t(random, e)
			if a != nil {
				done++
			}
			if without {
				unanswered++
			}
			return a
		})
		s.until(s.mail.count() + *chaosRecipients/5)
		end()
		mu.Lock()
		defer mu.Unlock()
		return injury{time.Now(), unanswered}
	}
}

// halfOpen leaves connections without an answer; for some of them that is how it stays until their worker is killed.
func (s *scene) halfOpen(random *rand.Rand) injury {
	tricks, kill := rand.New(rand.NewPCG(random.Uint64(), 0)), random.IntN(2) == 0
	at := s.mail.count() + *chaosRecipients*random.IntN(20)/100
	hung := make(chan injury)
	go func() { hung <- played(rig.Connections*chaosWorkers, 20, hangUp)(s, tricks) }()
	var killed injury
	if kill {
		s.until(at)
		killed = s.killWorker(random)
	}
	return killed.and(<-hung)
}

// outage is a while, mostly short; one in four is beyond the patience of the gate, and about that of a heartbeat.
func outage(random *rand.Rand) {
	if random.IntN(4) == 0 {
		time.Sleep(time.Duration(5000+random.IntN(8000)) * time.Millisecond)
		return
	}
	time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
}

func (s *scene) killWorker(random *rand.Rand) injury {
	s.hands.Lock()
	defer s.hands.Unlock()
	i := random.IntN(chaosWorkers)
	s.three[i].Kill()
	<-s.three[i].Exited
	s.three[i] = s.StartWorker()
	return injury{time.Now(), s.connections()}
}

// stopWorker stops a worker for longer than Temporal believes in it: its batches are given to others meanwhile.
func (s *scene) stopWorker(random *rand.Rand) injury {
	pause := 14 * time.Second
	if *chaosLong {
		pause = time.Minute
	}
	s.hands.Lock()
	w := s.three[random.IntN(chaosWorkers)]
	s.hands.Unlock()
	w.Signal(syscall.SIGSTOP)
	time.Sleep(pause)
	w.Signal(syscall.SIGCONT)
	over := time.Now()
	time.Sleep(500 * time.Millisecond) // it may send what it has in flight now
	return injury{over, s.connections()}
}

func (s *scene) killPostgres(random *rand.Rand) injury {
	s.own.postgres.Kill()
	outage(random)
	if err := s.own.restartPostgres(); err != nil {
		s.Error(err)
	}
	return injury{time.Now(), chaosWorkers * s.connections()}
}

func (s *scene) killTemporal(random *rand.Rand) injury {
	s.own.temporal.Kill()
	outage(random)
	if err := s.own.restartTemporal(); err != nil {
		s.Error(err)
	}
	return injury{time.Now(), chaosWorkers * s.connections()}
}

func (s *scene) killServer(random *rand.Rand) injury {
	s.mail.stop()
	outage(random)
	s.mail.start()
	return injury{time.Now(), chaosWorkers * rig.Connections}
}

// everything breaks, each when a share of its own of the mailing is sent, so that some of it breaks at the same time.
func (s *scene) everything(random *rand.Rand) injury {
	var all injury
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, f := range faults {
		if f.name == "everything" || f.directory == alone && s.mail.dir == "" {
			continue
		}
		at, own := s.share(random, 2, 70), rand.New(rand.NewPCG(random.Uint64(), 0)) // they run side by side
		wg.Go(func() {
			s.until(at)
			hurt := f.inject(s, own)
			mu.Lock()
			defer mu.Unlock()
			all = all.and(hurt)
		})
	}
	wg.Wait()
	return all
}

// smallDisk makes a disk in memory that can be made small, and says why where none can be had.
func smallDisk(t *testing.T) (dir, without string) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return "", "a small disk can only be mounted by root on Linux"
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+enough, "tmpfs", dir).CombinedOutput(); err != nil {
		return "", fmt.Sprintf("no small disk can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir, ""
}

const enough = "1g"

// fillDisk shrinks the disk to about what is on it, fills the rest, and makes it large again a while after the mailing has noticed.
func (s *scene) fillDisk(random *rand.Rand) injury {
	filler := s.mail.dir + "/filler"
	if err := os.WriteFile(filler, nil, 0o600); err != nil {
		s.Error(err)
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.mail.dir, &disk); err != nil {
		s.Error(err)
	}
	used := int64(disk.Blocks-disk.Bfree) * int64(disk.Bsize) // of another type on each system
	s.resize(fmt.Sprint(used + 4<<20))                        // not below what is there by now: that is refused
	s.fill(filler)
	for !s.noticed() && !s.isOver() {
		time.Sleep(50 * time.Millisecond)
	}
	outage(random)
	if err := os.Remove(filler); err != nil {
		s.Error(err)
	}
	s.resize(enough)
	return injury{time.Now(), 0}
}

func (s *scene) resize(size string) {
	if out, err := exec.Command("mount", "-o", "remount,size="+size, s.mail.dir).CombinedOutput(); err != nil {
		s.Errorf("%v: %s", err, out)
	}
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

// noticed tells whether the mailing knows of the directory's failure.
func (s *scene) noticed() bool {
	st, err := s.Status()
	if err != nil {
		return false
	}
	for _, p := range st.DropPoints {
		if p.Name == "drop" && p.LastFailure != "" {
			return true
		}
	}
	return s.pendingFailure()
}

// pendingFailure tells whether an activity of the mailing waits to be tried again.
func (s *scene) pendingFailure() bool {
	d, err := s.Temporal.DescribeWorkflowExecution(s.Context(), s.ID(), "")
	if err != nil {
		return false
	}
	for _, a := range d.PendingActivities {
		if a.LastFailure != nil && a.ActivityType.Name == "SendBatch" {
			return true
		}
	}
	return false
}
