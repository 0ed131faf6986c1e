package cli

import (
	"fmt"
	"time"
)

// meterSpan is the time that a rate is measured over: outcomes are counted batch by batch, so it must be longer than a batch takes.
const meterSpan = 30 * time.Second

// meter measures how fast a count grows.
type meter struct{ samples []sample }

type sample struct {
	at time.Time
	n  int64
}

func (m *meter) add(at time.Time, n int64) {
	m.samples = append(m.samples, sample{at, n})
	for len(m.samples) > 2 && at.Sub(m.samples[1].at) >= meterSpan {
		m.samples = m.samples[1:]
	}
}

// rate is the growth in a second; 0 when it is not known.
func (m *meter) rate() float64 {
	if len(m.samples) < 2 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	if elapsed := last.at.Sub(first.at).Seconds(); elapsed > 0 {
		return float64(last.n-first.n) / elapsed
	}
	return 0
}

// text is rate and expected time for what is left, "812/s, 12s left"; empty when nothing is known.
func (m *meter) text(left int64) string {
	rate := m.rate()
	if rate <= 0 {
		return ""
	}
	s := thousands(int64(rate)) + "/s"
	if rate < 10 {
		s = fmt.Sprintf("%.1f/s", rate)
	}
	if left <= 0 {
		return s
	}
	eta := time.Duration(float64(left) / rate * float64(time.Second))
	return s + ", " + rounded(eta) + " left"
}

// rounded writes a duration as somebody would say it.
func rounded(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()+0.5))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}
