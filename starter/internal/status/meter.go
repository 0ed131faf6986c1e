package status

import (
	"fmt"
	"time"

	"directmailer/starter/internal/output"
)

// meterSpan is the time that a rate is measured over. Outcomes are counted batch by batch, so it is
// longer than a batch takes.
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
	s := output.Thousands(int64(rate)) + "/s"
	if rate < 10 {
		s = fmt.Sprintf("%.1f/s", rate)
	}
	if left <= 0 {
		return s
	}
	eta := time.Duration(float64(left) / rate * float64(time.Second))
	return s + ", " + output.Duration(eta) + " left"
}
