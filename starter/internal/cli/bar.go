package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar shows a mailing on a terminal: a progress bar, and below it the outcomes, what goes on, and the drop points.
type bar struct {
	container *mpb.Progress
	bar       *mpb.Bar
	width     int

	mu    sync.Mutex
	state string
	right string
	below []string
}

func newBar(w io.Writer, id string, width int) *bar {
	b := &bar{width: width, state: "…"}
	b.container = mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithRefreshRate(200*time.Millisecond), mpb.WithWidth(max(10, min(50, width-60))))
	b.bar = b.container.New(0, barStyle(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.get(&b.state) + " " })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + b.get(&b.right) })),
		mpb.BarExtender(mpb.BarFillerFunc(b.extend), false))
	return b
}

func barStyle() mpb.BarStyleComposer {
	return mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding("·").Rbound("]")
}

func (b *bar) get(field *string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *field
}

func (b *bar) extend(w io.Writer, _ decor.Statistics) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.below {
		if _, err := fmt.Fprintln(w, text.Snip(line, b.width-1, "…")); err != nil {
			return err
		}
	}
	return nil
}

func (b *bar) show(v standing, m *meter) {
	b.mu.Lock()
	b.state = string(v.State)
	b.right = ""
	if v.Recipients > 0 {
		b.right = strings.TrimSuffix(fmt.Sprintf("%d%% %s/%s, %s", 100*v.Total()/v.Recipients, thousands(v.Total()), thousands(v.Recipients), m.text(v.Open)), ", ")
	}
	b.below = b.describe(v)
	b.mu.Unlock()
	if v.Recipients > 0 {
		b.bar.SetTotal(v.Recipients, false)
		b.bar.SetCurrent(v.Total())
	}
}

// describe always has the same number of lines for the same mailing, so that nothing jumps.
func (b *bar) describe(v standing) []string {
	below := []string{"  " + waiting(v), "  " + describeWaitings(v.Waiting)}
	if v.Recipients > 0 {
		below = append(below, fmt.Sprintf("  %s; batches: %d of %d closed, %d rendered", outcomeLine(v.Counts), v.ClosedBatches, v.Batches, v.Rendered),
			"  "+describeDeferred(v))
	}
	for _, p := range v.DropPoints {
		below = append(below, "  drop point "+clean(describeDropPoint(p)))
	}
	return below
}

func (b *bar) end(v standing) {
	var m meter
	v.Doing, v.Since, v.Until, v.Deferred, v.Waiting = "", time.Time{}, time.Time{}, 0, nil
	b.show(v, &m)
	b.mu.Lock()
	b.below = nil
	b.mu.Unlock()
	b.bar.Abort(false)
	b.container.Wait()
}
