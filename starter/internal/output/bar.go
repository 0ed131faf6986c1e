package output

import (
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Bar is a progress bar on a terminal, with lines of text below it.
type Bar struct {
	writer  progress.Writer
	tracker *progress.Tracker
	columns int
	done    chan struct{}
}

// NewBar shows a bar on a terminal of so many columns, until [Bar.Stop].
func NewBar(w io.Writer, columns int, message string) *Bar {
	b := newBar(w, columns, message)
	go func() {
		defer close(b.done)
		b.writer.Render()
	}()
	return b
}

// NewByteBar is NewBar for something that is counted in octets. It also shows the octets and their
// rate.
func NewByteBar(w io.Writer, columns int, message string) *Bar {
	b := newBar(w, columns, message)
	b.tracker.Units = progress.UnitsBytes
	b.writer.Style().Visibility.Value, b.writer.Style().Visibility.Speed = true, true
	go func() {
		defer close(b.done)
		b.writer.Render()
	}()
	return b
}

// refreshInterval is the time between two frames on the terminal.
const refreshInterval = 200 * time.Millisecond

func newBar(w io.Writer, columns int, message string) *Bar {
	b := &Bar{writer: progress.NewWriter(), columns: columns, done: make(chan struct{})}
	b.tracker = &progress.Tracker{Message: message, AutoStopDisabled: true}
	style := progress.StyleDefault
	style.Chars = progress.StyleChars{
		BoxLeft: "[", BoxRight: "]", Finished: "=", Finished25: "-", Finished50: "-", Finished75: ">", Unfinished: "·",
		Indeterminate: progress.IndeterminateIndicatorMovingBackAndForth("<=>", refreshInterval),
	}
	style.Options.KeepTrackersTogether = true // the lines stand below the bar
	style.Options.Separator = " "
	style.Options.PercentFormat, style.Options.PercentIndeterminate = "%4.0f%%", "     "
	style.Visibility = progress.StyleVisibility{Percentage: true, Pinned: true, Tracker: true}
	b.writer.SetStyle(style)
	b.writer.SetOutputWriter(w)
	b.writer.SetTerminalWidth(columns - 1)
	b.writer.SetTrackerLength(max(10, min(50, columns-60)))
	b.writer.SetTrackerPosition(progress.PositionLeft)
	b.writer.SetUpdateFrequency(refreshInterval)
	b.writer.SetAutoStop(false)
	b.writer.AppendTracker(b.tracker)
	return b
}

// Show shows a message beside the bar, how much of the total is done, and lines below. A total of
// zero is not known yet.
func (b *Bar) Show(message string, value, total int64, below ...string) {
	b.tracker.UpdateMessage(message)
	b.Set(value, total)
	lines := make([]string, len(below))
	for i, line := range below {
		lines[i] = text.Snip(line, b.columns-1, "…")
	}
	b.writer.SetPinnedMessages(lines...)
}

// Set sets how much of the total is done.
func (b *Bar) Set(value, total int64) {
	if total > 0 {
		b.tracker.UpdateTotal(total)
		b.tracker.SetValue(value)
	}
}

// Stop leaves the bar as it was shown last, without the lines below.
func (b *Bar) Stop() {
	b.writer.SetPinnedMessages()
	for {
		b.writer.Stop()
		select {
		case <-b.done:
			return
		case <-time.After(10 * time.Millisecond): // it had not begun
		}
	}
}
