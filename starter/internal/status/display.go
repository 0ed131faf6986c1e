package status

import (
	"fmt"
	"io"
	"strings"
	"time"

	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

// Display shows a mailing while it is followed.
type Display interface {
	// Show shows what is known. speed is "812/s, 12s left", or empty if it is not known.
	Show(s Status, speed string)
	// End is called once, with the last that is known.
	End(s Status)
}

// NewDisplay returns a display for people: a progress bar on a terminal, else a line every few
// seconds.
func NewDisplay(w io.Writer) Display {
	if columns, ok := output.Terminal(w); ok {
		return &bar{bar: output.NewBar(w, columns, "…")}
	}
	return &lines{w: w}
}

// NewJSONDisplay returns a display that writes a JSON object a line.
func NewJSONDisplay(w io.Writer) Display { return &lines{w: w, json: true} }

const (
	lineInterval  = 3 * time.Second  // between two lines
	aliveInterval = 30 * time.Second // the same where nothing has changed
)

// lines shows a mailing line by line.
type lines struct {
	w     io.Writer
	json  bool
	at    time.Time
	text  string
	state workflows.State
}

func (l *lines) Show(s Status, speed string) {
	since := time.Since(l.at)
	text := line(s, speed)
	if s.State == l.state && (since < lineInterval || text == l.text && since < aliveInterval) {
		return
	}
	l.at, l.text, l.state = time.Now(), text, s.State
	if l.json {
		_ = output.WriteLine(l.w, s)
		return
	}
	fmt.Fprintln(l.w, time.Now().Format("15:04:05"), text)
}

func (l *lines) End(s Status) {
	if s.Ended() && !l.json {
		fmt.Fprintln(l.w, time.Now().Format("15:04:05"), line(s, ""))
	}
}

// line is all that is known of a mailing, in one line.
func line(s Status, speed string) string {
	text := string(s.State)
	if s.Recipients > 0 {
		text += fmt.Sprintf(
			" %d%%, %s of %s",
			100*s.Total()/s.Recipients,
			output.Thousands(s.Total()),
			output.Count(s.Recipients, "recipient"),
		)
		if speed != "" {
			text += ", " + speed
		}
		text += fmt.Sprintf(
			"; %s; %d of %s closed",
			Outcomes(s.Counts),
			s.ClosedBatches,
			output.Count(s.Batches, "batch"),
		)
	}
	for _, more := range []string{s.describeDoing(), describeAll(s.Waiting), s.describeDeferred()} {
		if more != "" {
			text += "; " + more
		}
	}
	for _, p := range s.DropPoints {
		if !p.InList || !p.Until.IsZero() || p.Slowed != "" {
			text += "; drop point " + output.Clean(describeDropPoint(p))
		}
	}
	return text
}

// bar shows a mailing as a progress bar, with the outcomes, what it does, and its drop points
// below.
type bar struct{ bar *output.Bar }

func (b *bar) Show(s Status, speed string) {
	message := string(s.State)
	if s.Recipients > 0 {
		message += fmt.Sprintf(" %s/%s", output.Thousands(s.Total()), output.Thousands(s.Recipients))
		if speed != "" {
			message += ", " + speed
		}
	}
	b.bar.Show(message, s.Total(), s.Recipients, below(s)...)
}

// below has the same number of lines for the same mailing every time, so that nothing on the
// terminal moves.
func below(s Status) []string {
	all := []string{s.describeDoing(), describeAll(s.Waiting)}
	if s.Recipients > 0 {
		all = append(
			all,
			fmt.Sprintf(
				"%s; batches: %d of %d closed, %d rendered",
				Outcomes(s.Counts),
				s.ClosedBatches,
				s.Batches,
				s.Rendered,
			),
			s.describeDeferred(),
		)
	}
	for _, p := range s.DropPoints {
		all = append(all, "drop point "+output.Clean(describeDropPoint(p)))
	}
	for i, text := range all {
		all[i] = strings.TrimSpace(text)
	}
	return all
}

func (b *bar) End(s Status) {
	s.Doing, s.Since, s.Until, s.Deferred, s.Waiting = "", time.Time{}, time.Time{}, 0, nil
	b.Show(s, "")
	b.bar.Stop()
}
