package workflows

import (
	"slices"
	"time"
)

// speed measures how many messages a second a mailing has sent lately. It is not carried over to
// the next run, which measures anew.
type speed struct{ samples []speedSample }

type speedSample struct {
	at       time.Time
	answered int64
}

const (
	speedOver    = time.Minute     // the time that is looked back
	speedSamples = 2 * time.Second // the least time between two samples
)

// note takes up how many recipients have been answered until now.
func (s *speed) note(now time.Time, answered int64) {
	if n := len(s.samples); n > 1 && s.samples[n-1].at.Sub(s.samples[n-2].at) < speedSamples {
		s.samples = s.samples[:n-1]
	}
	s.samples = append(s.samples, speedSample{now, answered})
	old := 0
	for old < len(s.samples)-2 && now.Sub(s.samples[old].at) > speedOver {
		old++
	}
	s.samples = slices.Delete(s.samples, 0, old)
}

// perSecond returns the speed, or 0 while it is not known.
func (s *speed) perSecond() float64 {
	if len(s.samples) == 0 {
		return 0
	}
	first, last := s.samples[0], s.samples[len(s.samples)-1]
	passed := last.at.Sub(first.at)
	if passed < time.Second {
		return 0
	}
	return float64(last.answered-first.answered) / passed.Seconds()
}

// end returns when so many more are answered at the speed; zero while it is not known.
func (s *speed) end(left int64) time.Time {
	rate := s.perSecond()
	if rate <= 0 || left <= 0 {
		return time.Time{}
	}
	seconds := float64(left) / rate
	if seconds > 10*365*24*3600 {
		return time.Time{}
	}
	return s.samples[len(s.samples)-1].at.Add(time.Duration(seconds * float64(time.Second)))
}
