package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/temporalclient"
	"directmailer/workflows"
)

const (
	lookEvery  = 500 * time.Millisecond // at the database
	lookMost   = 5 * time.Second        // the same, if it takes so long that it would cost more than a twentieth of the time
	askEvery   = 2 * time.Second        // the workflow, by way of a worker
	plainEvery = 3 * time.Second        // lines, when the output is no terminal
	aliveEvery = 30 * time.Second       // a line although nothing has changed
)

func (a *app) watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch ID",
		Short: "Watch a mailing until it ends",
		Long: `Shows a mailing's progress, what it waits for and until when, and at its end the closed ledger. Where the output is
no terminal, that is a line every few seconds; with --output json a JSON object a line, the last one for the end.

Ctrl-C stops watching; the mailing goes on.`,
		Example: "  starter watch newsletter-2026-11",
		Args:    wants("the mailing's ID"),
	}
	output := outputFlag(cmd)
	cmd.ValidArgsFunction = a.completeMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		return a.watch(cmd.Context(), s, args[0], output.json())
	}
	return cmd
}

// watch follows the mailing to its end and shows it; the error tells an end other than completed, or that ctx was cancelled.
func (a *app) watch(ctx context.Context, s *store, id string, asJSON bool) error {
	var d display
	if width, ok := terminal(a.Out); ok && !asJSON {
		d = newBar(a.Out, id, width)
	} else {
		d = &lines{w: a.Out, json: asJSON}
	}
	v, err := follow(ctx, s, id, d)
	d.end(v)
	if err != nil {
		if ctx.Err() != nil {
			return failf(Interrupted, "stopped watching; the mailing goes on: `starter watch %s` looks again, `starter cancel %s` ends it", id, id)
		}
		return err
	}
	if v.stored && !v.Closed {
		if err := s.tally(ctx, &v); err != nil {
			return err
		}
	}
	if asJSON {
		err = writeLine(a.Out, v)
	} else if v.stored {
		writeLedger(a.Out, v)
	}
	return errors.Join(err, endOf(v))
}

// endOf is nil for a completed mailing.
func endOf(v standing) error {
	if v.State == workflows.StateCompleted {
		return nil
	}
	verb := map[workflows.State]string{workflows.StateFailed: "failed", workflows.StateExpired: "has expired"}[v.State]
	if verb == "" {
		verb = "was " + string(v.State)
	}
	text := fmt.Sprintf("mailing %s %s", v.ID, verb)
	if v.Reason != "" && v.Reason != string(v.State) {
		text += ": " + v.Reason
	}
	if v.State == workflows.StateTerminated && !v.Closed {
		text += fmt.Sprintf(": `starter close %s` closes its ledger", v.ID)
	}
	return failf(NotCompleted, "%s", text)
}

// display shows a mailing while it is watched.
type display interface {
	show(v standing, m *meter)
	// end is called once, with the last that is known.
	end(v standing)
}

// follow shows the mailing until it ends, and returns its end.
func follow(ctx context.Context, s *store, id string, d display) (standing, error) {
	watcher, stop := watchTemporal(ctx, id)
	defer stop()
	var m meter
	var v standing
	watcher.latest(ctx)
	for {
		began := time.Now()
		var err error
		if v, err = look(ctx, s, id, watcher, v); err != nil {
			return v, err
		}
		next := time.After(max(lookEvery, min(20*time.Since(began), lookMost)))
		if v.PreparedAt != nil {
			m.add(time.Now(), v.Total())
		}
		if v.ended() {
			return v, nil
		}
		d.show(v, &m)
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-next:
		}
	}
}

// look reads once. While the database is away, what was known before is shown: the mailing itself waits for it as well.
func look(ctx context.Context, s *store, id string, w *watcher, before standing) (standing, error) {
	first := before.ID == ""
	v, err := readBoth(ctx, s, id, w.latest)
	if err != nil && !first && ctx.Err() == nil && codeOf(err) == NoDatabase {
		before.Doing = "the database does not answer: the figures are the last known"
		return before, nil
	}
	if err == nil && v.stored && !v.Closed && w.forgotten() {
		return v, failf(NotCompleted, "Temporal does not know the workflow of mailing %s: it was terminated and forgotten (`starter close %s` closes its ledger), or runs in another namespace", id, id)
	}
	return v, err
}

// watcher asks Temporal again and again, in the background: an answer that takes its time must not hold up the counters.
type watcher struct {
	mu    sync.Mutex
	last  live
	asked chan struct{} // closed after the first answer
}

func watchTemporal(ctx context.Context, id string) (w *watcher, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	w = &watcher{asked: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx, id)
	}()
	return w, func() { cancel(); <-done }
}

func (w *watcher) run(ctx context.Context, id string) {
	var c *temporalclient.Cluster
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	var once sync.Once
	for ctx.Err() == nil {
		var l live
		if c == nil {
			c, l.err = tryDial(ctx)
		}
		if c != nil {
			l = askTemporal(ctx, c, id)
		}
		w.mu.Lock()
		w.last = l
		w.mu.Unlock()
		once.Do(func() { close(w.asked) })
		select {
		case <-ctx.Done():
		case <-time.After(askEvery):
		}
	}
	once.Do(func() { close(w.asked) })
}

// latest waits for the first answer only.
func (w *watcher) latest(ctx context.Context) live {
	select {
	case <-w.asked:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *watcher) forgotten() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.err == nil && !w.last.known
}

// lines shows a mailing line by line.
type lines struct {
	w    io.Writer
	json bool
	at   time.Time
	last string
	was  workflows.State
}

func (l *lines) show(v standing, m *meter) {
	since := time.Since(l.at)
	text := l.text(v, m)
	if v.State == l.was && (since < plainEvery || text == l.last && since < aliveEvery) {
		return
	}
	l.at, l.last, l.was = time.Now(), text, v.State
	if l.json {
		_ = writeLine(l.w, v)
		return
	}
	fmt.Fprintln(l.w, time.Now().Format("15:04:05"), text)
}

func (l *lines) text(v standing, m *meter) string {
	text := string(v.State)
	if v.Recipients > 0 {
		text += fmt.Sprintf(" %d%%, %s of %s", 100*v.Total()/v.Recipients, thousands(v.Total()), count(v.Recipients, "recipient"))
		if speed := m.text(v.Open); speed != "" {
			text += ", " + speed
		}
		text += fmt.Sprintf("; %s; %d of %s closed", outcomeLine(v.Counts), v.ClosedBatches, count(v.Batches, "batch"))
	}
	if doing := waiting(v); doing != "" {
		text += "; " + doing
	}
	if waits := describeWaitings(v.Waiting); waits != "" {
		text += "; " + waits
	}
	if deferred := describeDeferred(v); deferred != "" {
		text += "; " + deferred
	}
	for _, p := range v.DropPoints {
		if !p.InList || !p.Until.IsZero() {
			text += "; drop point " + clean(describeDropPoint(p))
		}
	}
	return text
}

func (l *lines) end(v standing) {
	if v.ended() && !l.json {
		fmt.Fprintln(l.w, time.Now().Format("15:04:05"), l.text(v, &meter{}))
	}
}

// waiting says what goes on or is waited for, and until when.
func waiting(v standing) string {
	text := clean(v.Doing)
	var times []string
	if !v.Since.IsZero() {
		times = append(times, "since "+moment(v.Since))
	}
	if !v.Until.IsZero() {
		times = append(times, untilWord(v)+" "+moment(v.Until))
	}
	if len(times) > 0 {
		text += " (" + strings.Join(times, ", ") + ")"
	}
	return text
}
