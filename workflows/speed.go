package workflows

import (
	"slices"
	"time"
)

// speed measures how many messages per second a mailing has sent over the last minute. The next run
// measures from its own start.
type speed struct{ samples []speedSample }

type speedSample struct {
	at       time.Time
	answered int64
}

const (
	speedOver    = time.Minute     // the time over which the speed is measured
	speedSamples = 2 * time.Second // the shortest time between two samples
)

// note adds a sample: the number of recipients with an answer until now.
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

// perSecond returns the messages per second; 0 while they are not known.
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

// end returns when left more recipients have an answer at this speed; zero while it is not known.
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
