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
	postgres, temporal bool // breaks these servers, and so needs servers of its own
	standby            replication
	apart              bool // does not happen together with other faults
	directory          directoryUse
	smallRelay         bool // a second relay, which takes no message of the mailing
	terminates         bool // ends the mailing: its ledger is closed as `starter close` does
	inject             func(*experiment, *rand.Rand) effect
}

// replication says whether PostgreSQL has a standby, and whether commits wait for it.
type replication int

const (
	noStandby replication = iota
	synchronous
	asynchronous
)

// directoryUse says whether mailings of a fault go to a drop directory on a small disk.
type directoryUse int

const (
	noDirectory directoryUse = iota
	besides                  // beside the SMTP server, where such a disk can be had
	alone                    // without it; the fault is skipped where there is none
)

// effect is what a fault has done.
type effect struct {
	over time.Time // the end of the fault
	// bound is how many messages may have been accepted although the ledger does not know it: one
	// for each connection that broke after the final dot of a message, or with its process.
	bound int
}

// and returns the effect of two faults together.
func (e effect) and(other effect) effect {
	if other.over.After(e.over) {
		e.over = other.over
	}
	e.bound += other.bound
	return e
}

var faults []fault

func init() { // not in the declaration, because the last fault uses the list
	faults = []fault{
		{name: "worker-killed", inject: (*experiment).killWorker},
		{name: "worker-stopped", inject: (*experiment).stopWorker},
		{name: "postgres-killed", postgres: true, inject: (*experiment).killPostgres},
		{name: "postgres-away", postgres: true, apart: true, inject: (*experiment).leavePostgres},
		{name: "postgres-failover", postgres: true, standby: synchronous, apart: true, inject: (*experiment).failOver},
		{name: "postgres-failover-async", postgres: true, standby: asynchronous, apart: true,
			inject: (*experiment).failOver},
		{name: "temporal-killed", temporal: true, inject: (*experiment).killTemporal},
		{name: "smtp-server-killed", inject: (*experiment).killServer},
		{name: "cut-before-dot", inject: serverFault(40, 20, cutBeforeDot)},
		{name: "cut-after-dot", inject: serverFault(40, 20, cutAfterDot)},
		{name: "cut-in-the-250", inject: serverFault(40, 20, cutInThe250)},
		{name: "half-open", inject: (*experiment).halfOpen},
		{name: "slow-server", inject: serverFault(1<<30, 1, slow)},
		{name: "421", inject: serverFault(40, 20, closing)},
		{name: "disk-full", directory: alone, inject: (*experiment).fillDisk},
		{name: "poison-recipient", inject: (*experiment).poison},
		{name: "quota", inject: (*experiment).useUpQuota},
		{name: "small-relay", apart: true, smallRelay: true, inject: serverFault(1<<30, 1, slow)},
		{name: "terminate", apart: true, terminates: true, inject: (*experiment).terminate},
		{name: "everything", postgres: true, temporal: true, directory: besides, inject: (*experiment).everything},
	}
}

// misbehavior is a fault of the SMTP server. It returns what the server does at the event (nil: its
// usual answer), and whether the server accepts the message and does not say so.
type misbehavior func(*rand.Rand, smtptest.Event) (a *smtptest.Action, unanswered bool)

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

// hang gives no answer, and closes the connection later. A firewall or a server does so before
// Direct Mailer's timeout, which is ten minutes for the answer to a final dot.
func hang(random *rand.Rand, e smtptest.Event) (*smtptest.Action, bool) {
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
	return &smtptest.Action{Wait: later(pause + time.Duration(random.IntN(int(pause/2)))), Die: true, Accept: accept},
		accept
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

// serverFault makes the server misbehave at one event in oneIn, at most so many times, while a
// fifth of the mailing is sent.
func serverFault(times, oneIn int, m misbehavior) func(*experiment, *rand.Rand) effect {
	return func(e *experiment, random *rand.Rand) effect {
		var mu sync.Mutex
		var done, unanswered int
		remove := e.receiver.addScript(func(event smtptest.Event) *smtptest.Action {
			mu.Lock()
			defer mu.Unlock()
			if done >= times || random.IntN(oneIn) > 0 {
				return nil
			}
			a, accepted := m(random, event)
			if a != nil {
				done++
			}
			if accepted {
				unanswered++
			}
			return a
		})
		e.awaitMessages(e.receiver.count() + *chaosRecipients/5)
		remove()
		mu.Lock()
		defer mu.Unlock()
		return effect{time.Now(), unanswered}
	}
}

// halfOpen leaves connections without an answer. In half of the rounds, it also kills a worker
// meanwhile.
func (e *experiment) halfOpen(random *rand.Rand) effect {
	own, kill := rand.New(rand.NewPCG(random.Uint64(), 0)), random.IntN(2) == 0
	at := e.receiver.count() + *chaosRecipients*random.IntN(20)/100
	hung := make(chan effect)
	go func() { hung <- serverFault(rig.Connections*chaosWorkers, 20, hang)(e, own) }()
	var killed effect
	if kill {
		e.awaitMessages(at)
		killed = e.killWorker(random)
	}
	return killed.and(<-hung)
}

// outage waits for a random time, mostly up to three seconds. One outage in four is longer than the
// gate's timeout, and about as long as that of a heartbeat.
func outage(random *rand.Rand) {
	if random.IntN(4) == 0 {
		time.Sleep(time.Duration(5000+random.IntN(8000)) * time.Millisecond)
		return
	}
	time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
}

func (e *experiment) killWorker(random *rand.Rand) effect {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := random.IntN(chaosWorkers)
	e.workers[i].Kill()
	<-e.workers[i].Exited
	e.workers[i] = e.StartWorker()
	return effect{time.Now(), e.connections()}
}

// stopWorker stops a worker for longer than its heartbeat's timeout, so that Temporal gives its
// batches to other workers meanwhile.
func (e *experiment) stopWorker(random *rand.Rand) effect {
	pause := 14 * time.Second
	if *chaosLong {
		pause = time.Minute
	}
	e.mu.Lock()
	w := e.workers[random.IntN(chaosWorkers)]
	e.mu.Unlock()
	w.Signal(syscall.SIGSTOP)
	time.Sleep(pause)
	w.Signal(syscall.SIGCONT)
	over := time.Now()
	time.Sleep(500 * time.Millisecond) // for the worker to send what it has in flight
	return effect{over, e.connections()}
}

func (e *experiment) killPostgres(random *rand.Rand) effect {
	e.own.postgres.Kill()
	outage(random)
	if err := e.own.restartPostgres(); err != nil {
		e.Error(err)
	}
	return effect{time.Now(), chaosWorkers * e.connections()}
}

// leavePostgres kills PostgreSQL for longer than connections wait for it, so that known answers are
// kept without their connections.
func (e *experiment) leavePostgres(*rand.Rand) effect {
	pause := 8 * time.Second
	if *chaosLong {
		pause = 90 * time.Second
	}
	e.own.postgres.Kill()
	time.Sleep(pause)
	if err := e.own.restartPostgres(); err != nil {
		e.Error(err)
	}
	return effect{time.Now(), chaosWorkers * e.connections()}
}

// failOver kills the primary for good, and promotes its standby after 1 to 20 s. Without
// synchronous replication, the standby lacks what was committed in the last moments, up to a
// second.
func (e *experiment) failOver(random *rand.Rand) effect {
	pause := time.Duration(1000+random.IntN(3000)) * time.Millisecond
	if *chaosLong {
		pause = time.Duration(1000+random.IntN(19_000)) * time.Millisecond
	}
	if err := e.own.failOver(e.TB, e.fault.standby, pause, time.Duration(random.IntN(1000))*time.Millisecond); err != nil {
		e.Error(err)
	}
	return effect{time.Now(), chaosWorkers * e.connections()}
}

func (e *experiment) killTemporal(random *rand.Rand) effect {
	e.own.temporal.Kill()
	outage(random)
	if err := e.own.restartTemporal(); err != nil {
		e.Error(err)
	}
	return effect{time.Now(), chaosWorkers * e.connections()}
}

func (e *experiment) killServer(random *rand.Rand) effect {
	e.receiver.stop()
	outage(random)
	e.receiver.start()
	return effect{time.Now(), chaosWorkers * rig.Connections}
}

// everything injects all other faults, each when its own share of the mailing is sent, so that some
// of them overlap.
func (e *experiment) everything(random *rand.Rand) effect {
	var all effect
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, f := range faults {
		if f.name == "everything" || f.apart || f.directory == alone && e.receiver.dir == "" {
			continue
		}
		at, own := e.share(random, 2, 70), rand.New(rand.NewPCG(random.Uint64(), 0)) // they run side by side
		wg.Go(func() {
			e.awaitMessages(at)
			done := f.inject(e, own)
			mu.Lock()
			defer mu.Unlock()
			all = all.and(done)
		})
	}
	wg.Wait()
	return all
}

// smallDisk mounts a disk in memory that can be resized. It returns its folder, or why there is
// none.
func smallDisk(t *testing.T) (dir, missing string) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return "", "a small disk can only be mounted by root on Linux"
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+normalSize, "tmpfs",
		dir).CombinedOutput(); err != nil {
		return "", fmt.Sprintf("no small disk can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir, ""
}

// normalSize is the size of the small disk except during the fault.
const normalSize = "1g"

// fillDisk shrinks the disk to about its content, fills the rest, waits until the mailing knows
// that the disk is full, and after an outage makes the disk large again.
func (e *experiment) fillDisk(random *rand.Rand) effect {
	filler := e.receiver.dir + "/filler"
	if err := os.WriteFile(filler, nil, 0o600); err != nil {
		e.Error(err)
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(e.receiver.dir, &disk); err != nil {
		e.Error(err)
	}
	used := int64(disk.Blocks-disk.Bfree) * int64(disk.Bsize) // of another type on each system
	e.resize(fmt.Sprint(used + 4<<20))                        // less than its content is refused
	e.fill(filler)
	for !e.noticed("drop") && !e.isOver() {
		time.Sleep(50 * time.Millisecond)
	}
	outage(random)
	if err := os.Remove(filler); err != nil {
		e.Error(err)
	}
	e.resize(normalSize)
	return effect{time.Now(), 0}
}

func (e *experiment) resize(size string) {
	if out, err := exec.Command("mount", "-o", "remount,size="+size, e.receiver.dir).CombinedOutput(); err != nil {
		e.Errorf("%v: %s", err, out)
	}
}

// fill writes to the file until the disk is full.
func (e *experiment) fill(path string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		e.Error(err)
		return
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 1 << 12, 1} {
		block := make([]byte, size)
		for err = nil; err == nil; _, err = f.Write(block) {
		}
	}
}

// noticed reports whether the mailing knows that the drop point has failed.
func (e *experiment) noticed(dropPoint string) bool {
	st, err := e.Status()
	if err != nil {
		return false
	}
	for _, p := range st.DropPoints {
		if p.Name == dropPoint && p.LastFailure != "" {
			return true
		}
	}
	return e.pendingFailure()
}

// pendingFailure reports whether a SendBatch of the mailing waits for its next attempt.
func (e *experiment) pendingFailure() bool {
	d, err := e.Temporal.DescribeWorkflowExecution(e.Context(), e.ID(), "")
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
