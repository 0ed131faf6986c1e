package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"
)

const (
	// worksFor is how long a drop point counts as working on other workers after one of them has
	// reported accepted mail.
	worksFor = time.Minute
	// newsFor is how long the report of a worker is shown.
	newsFor = 2 * time.Minute
	// excusePause is the pause of a batch whose worker could not use drop points that work on other
	// workers.
	excusePause = 2 * time.Second
)

// dropPointNews is what each worker has reported last about each drop point. The next run starts
// without news.
type dropPointNews struct {
	of     map[string]map[string]workerNews // by drop point and worker
	latest time.Time                        // of all reports
}

// workerNews is what one worker has reported last about a drop point.
type workerNews struct {
	DropPointReport
	at       time.Time
	accepted time.Time // when it last reported answers that show that it works; zero after a failure
}

// hear takes up the report of a worker. It returns true if the report's failure is that worker's
// own: the drop point works on others, so it gives this worker no connection. A refusal of our mail
// is never excused.
func (n *dropPointNews) hear(worker string, r DropPointReport, now time.Time) (excused bool) {
	if n.of == nil {
		n.of = map[string]map[string]workerNews{}
	}
	if n.of[r.Name] == nil {
		n.of[r.Name] = map[string]workerNews{}
	}
	n.latest = now
	workers := n.of[r.Name]
	news := workerNews{DropPointReport: r, at: now, accepted: workers[worker].accepted}
	switch {
	case r.Failure != "":
		news.accepted = time.Time{}
	case r.Accepted+r.Answered > 0:
		news.accepted = now
	}
	workers[worker] = news
	for _, other := range workflow.DeterministicKeys(workers) {
		if now.Sub(workers[other].at) > newsFor {
			delete(workers, other)
		}
	}
	if r.Failure == "" {
		return false
	}
	for _, other := range workflow.DeterministicKeys(workers) {
		at := workers[other].accepted
		excused = excused || !r.Refuses && !at.IsZero() && now.Sub(at) < worksFor
	}
	if !excused { // it is told as the failure of the drop point
		delete(workers, worker)
	}
	return excused
}

// recent returns the news about a drop point that are not too old, in a fixed order.
func (n *dropPointNews) recent(name string) (all []workerNews) {
	for _, worker := range workflow.DeterministicKeys(n.of[name]) {
		if w := n.of[name][worker]; n.latest.Sub(w.at) <= newsFor {
			all = append(all, w)
		}
	}
	return all
}

// opening returns since when the drop point is being connected to, and the step that takes so long,
// if no worker has a connection. Otherwise the time is zero.
func (n *dropPointNews) opening(name string) (since time.Time, step string) {
	for _, w := range n.recent(name) {
		if w.OpeningSince.IsZero() {
			return time.Time{}, ""
		}
		if since.IsZero() || w.OpeningSince.Before(since) {
			since, step = w.OpeningSince, w.OpeningStep
		}
	}
	return since, step
}

// describe says in words what slows a drop point down, or nothing.
func (n *dropPointNews) describe(name string) string {
	var connections, workers, slow, without int
	var rate float64
	var fewer, slower, none string
	for _, w := range n.recent(name) {
		if w.FewerReason != "" {
			connections, workers, fewer = connections+w.Connections, workers+1, w.FewerReason
		}
		if w.Rate > 0 {
			rate, slow, slower = rate+w.Rate, slow+1, w.RateReason
		}
		if w.Failure != "" {
			without, none = without+1, strings.TrimPrefix(w.Failure, "drop point "+name+": ")
		}
	}
	var texts []string
	if since, step := n.opening(name); !since.IsZero() {
		texts = append(texts, fmt.Sprintf("being connected to since %s (%s)", stamp(since), step))
	}
	if workers > 0 {
		texts = append(texts, fmt.Sprintf("gives %s: %s", plural(connections, "connection"), fewer))
	}
	if slow > 0 {
		texts = append(texts, fmt.Sprintf("slowed down to %s messages/s: %s", perSecond(rate), slower))
	}
	if without > 0 {
		texts = append(texts, fmt.Sprintf("gives %s no connection: %s", plural(without, "worker"), none))
	}
	return strings.Join(texts, "; ")
}

func plural(n int, word string) string {
	switch n {
	case 0:
		return "no " + word
	case 1:
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
