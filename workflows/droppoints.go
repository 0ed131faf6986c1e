package workflows

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// dropPoints holds the state of a mailing's drop points: which of them a batch may use, which rest
// after a failure, which have left the mailing's list, and which are on trial. It reads no clock
// and starts no activity.
type dropPoints struct {
	all    []DropPointStatus // in the order of the input; carried over to the next run
	retry  Retry             // the mailing's setting for drop points
	trials map[string]bool   // drop points on trial that have a batch in flight
	probes map[string]bool   // drop points with a CheckDropPoint activity in flight
	failed map[string]int    // how often each drop point has failed in this run
	news   dropPointNews
}

func newDropPoints(all []DropPointStatus, retry Retry) dropPoints {
	return dropPoints{all: all, retry: retry, trials: map[string]bool{}, probes: map[string]bool{},
		failed: map[string]int{}}
}

// add puts drop points into the list.
func (d *dropPoints) add(names []string) {
	for _, name := range names {
		d.all = append(d.all, DropPointStatus{Name: name, InList: true})
	}
}

// find returns the drop point of that name, or nil.
func (d *dropPoints) find(name string) *DropPointStatus {
	for i := range d.all {
		if d.all[i].Name == name {
			return &d.all[i]
		}
	}
	return nil
}

// inList returns the number of drop points in the list.
func (d *dropPoints) inList() (n int) {
	for _, p := range d.all {
		if p.InList {
			n++
		}
	}
	return n
}

// usable returns the drop points that a batch may use now: those in the list that do not rest. A
// drop point on trial has one batch at a time.
func (d *dropPoints) usable(now time.Time) (out []UsableDropPoint) {
	for _, p := range d.all {
		onTrial := p.OnTrial && d.trials[p.Name]
		if p.InList && !p.Until.After(now) && !onTrial {
			failed := p.LastFailure != "" && !p.Proven
			out = append(out, UsableDropPoint{Name: p.Name, Proven: p.Proven, HasAccepted: p.HasAccepted,
				Failed: failed, Refuses: failed && p.Refuses})
		}
	}
	return out
}

// startTrials notes that a batch uses the drop points. The caller must call endTrials.
func (d *dropPoints) startTrials(used []UsableDropPoint) {
	for _, p := range used {
		if d.find(p.Name).OnTrial {
			d.trials[p.Name] = true
		}
	}
}

// endTrials notes that a batch does not use the drop points any more.
func (d *dropPoints) endTrials(used []UsableDropPoint) {
	for _, p := range used {
		delete(d.trials, p.Name)
	}
}

// failureCounts returns how often each drop point has failed in this run, for a batch that starts
// now.
func (d *dropPoints) failureCounts() map[string]int { return maps.Clone(d.failed) }

// report applies what a batch says about a drop point. before is what failureCounts returned when
// the batch started: what a drop point has accepted before its last failure proves nothing any
// more. It returns whether the drop point works, and whether it has left the list because of the
// report.
func (d *dropPoints) report(r DropPointReport, before map[string]int, now time.Time) (works, left bool) {
	p := d.find(r.Name)
	if p != nil && r.Accepted > 0 {
		p.HasAccepted = true
	}
	switch {
	case p == nil:
	case r.Failure != "":
		p.Proven, p.Refuses = false, p.Refuses || r.Refuses
		d.failed[r.Name]++
		return false, d.fail(p, r.Failure, now)
	case r.Accepted+r.Answered > 0:
		p.Failures, p.Probes, p.OnTrial = 0, 0, false
		p.Proven = p.Proven || r.Accepted > 0 && before[r.Name] == d.failed[r.Name]
		p.Refuses = p.Refuses && !p.Proven
		return true, false
	}
	return false, false
}

// othersThan reports whether the mailing has drop points besides these.
func (d *dropPoints) othersThan(these []UsableDropPoint) bool { return len(these) < len(d.all) }

// failAll returns reports that say of every drop point in the list that it has failed.
func (d *dropPoints) failAll(failure string) (reports []DropPointReport) {
	for _, p := range d.all {
		if p.InList {
			reports = append(reports, DropPointReport{Name: p.Name, Failure: failure})
		}
	}
	return reports
}

// fail makes a drop point rest for the retry interval. After its last attempt, or on trial, the
// drop point leaves the list, and fail returns true.
func (d *dropPoints) fail(p *DropPointStatus, failure string, now time.Time) (left bool) {
	p.LastFailure = failure
	if !p.InList || p.Until.After(now) {
		return false // from a batch that started before the last failure, which is counted already
	}
	if p.Failures++; p.OnTrial || p.Failures >= d.retry.Attempts {
		p.InList, p.OnTrial = false, false
		d.scheduleProbe(p, now)
		return true
	}
	p.Until = now.Add(time.Duration(d.retry.Interval))
	return false
}

// scheduleProbe sets the time of the next probe. The pause doubles with each probe, also after
// trials that failed, until the drop point accepts mail.
func (d *dropPoints) scheduleProbe(p *DropPointStatus, now time.Time) {
	p.Until = now.Add(backoff(d.retry.Interval, p.Probes))
	p.Probes++
}

// endRest makes every drop point in the list usable at once.
func (d *dropPoints) endRest() {
	for i := range d.all {
		if d.all[i].InList {
			d.all[i].Until = time.Time{}
		}
	}
}

// startProbes ends the rest of drop points whose time has come. It returns the drop points out of
// the list that the caller must probe now: those that are due, or all with atOnce. Each probe ends
// with endProbe.
func (d *dropPoints) startProbes(now time.Time, atOnce bool) (due []string) {
	for i := range d.all {
		p := &d.all[i]
		switch {
		case p.InList && !p.Until.After(now):
			p.Until = time.Time{}
		case p.InList, d.probes[p.Name], p.Until.After(now) && !atOnce:
		default:
			d.probes[p.Name] = true
			due = append(due, p.Name)
		}
	}
	return due
}

// probedAtOnce returns a copy of the drop points, in which the probes of those out of the list are
// due.
func (d *dropPoints) probedAtOnce() []DropPointStatus {
	all := slices.Clone(d.all)
	for i := range all {
		if !all[i].InList {
			all[i].Until = time.Time{}
		}
	}
	return all
}

// endProbe applies the answer of a probe, or the error of a probe without an answer. It returns
// whether the drop point is back in the list, on trial.
func (d *dropPoints) endProbe(name string, out Checked, err error, now time.Time) (back bool) {
	delete(d.probes, name)
	p := d.find(name)
	if err == nil && out.Usable {
		p.InList, p.OnTrial, p.Until = true, true, time.Time{}
		return true
	}
	if err == nil {
		p.LastFailure = out.Failure
	}
	d.scheduleProbe(p, now)
	return false
}

// nextProbe returns the time of the first probe of a drop point out of the list; zero if all are in
// the list.
func (d *dropPoints) nextProbe() (at time.Time) {
	for _, p := range d.all {
		if !p.InList && (at.IsZero() || p.Until.Before(at)) {
			at = p.Until
		}
	}
	return at
}

// restUntil returns when the first drop point in the list ends its rest; zero if one does not rest.
func (d *dropPoints) restUntil() (until time.Time) {
	for _, p := range d.all {
		switch {
		case !p.InList:
		case p.Until.IsZero():
			return time.Time{}
		case until.IsZero() || p.Until.Before(until):
			until = p.Until
		}
	}
	return until
}

// connects says since when the drop points in the list are being connected to, if none of them has
// a connection.
func (d *dropPoints) connects() string {
	var texts []string
	for _, p := range d.all {
		if !p.InList {
			continue
		}
		since, step := d.news.opening(p.Name)
		if since.IsZero() {
			return ""
		}
		texts = append(texts, fmt.Sprintf("drop point %s is being connected to since %s (%s)", p.Name, stamp(since), step))
	}
	return joined(texts, "; ")
}

// failures returns the last failures of the drop points as one text.
func (d *dropPoints) failures() string {
	var failures []string
	for _, p := range d.all {
		switch {
		case p.LastFailure == "":
		case p.InList && p.Failures > 0:
			failures = append(failures,
				fmt.Sprintf("%s (attempt %d of %d)", p.LastFailure, p.Failures, d.retry.Attempts))
		default:
			failures = append(failures, p.LastFailure)
		}
	}
	return joined(failures, "; ")
}

// statuses returns a copy of the drop points for the status of the mailing.
func (d *dropPoints) statuses() (out []DropPointStatus) {
	for _, p := range d.all {
		p.Attempts, p.Slowed = d.retry.Attempts, d.news.describe(p.Name)
		out = append(out, p)
	}
	return out
}

// wakeUps tells w when a drop point needs attention next.
func (d *dropPoints) wakeUps(w *wakeUp) {
	for _, p := range d.all {
		switch {
		case d.probes[p.Name]:
		case p.InList:
			w.at(p.Until, "drop point "+p.Name+" rests after a failure")
		default:
			w.at(p.Until, "next probe of drop point "+p.Name)
		}
	}
}
