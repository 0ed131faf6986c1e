package mailing

import (
	"bufio"
	"context"
	"encoding/csv"
	"io"
	"time"

	"directmailer/internal/feedback/events"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/output"
)

// eventLine is an event of the report as JSON.
type eventLine struct {
	Address    string        `json:"address"`
	At         time.Time     `json:"at"`
	Kind       string        `json:"kind"`
	Class      events.Class  `json:"class"`
	Enhanced   string        `json:"enhanced_code"`
	Diagnostic string        `json:"diagnostic"`
	Origin     events.Origin `json:"origin"`
}

// writeEvents writes a line for each event of a mailing, by recipient and time.
func writeEvents(ctx context.Context, s *events.Store, key int64, asJSON bool, w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	if asJSON {
		array := output.NewArray(buffered)
		err := s.Report(ctx, key, func(x events.Line) error {
			return array.Add(eventLine{x.Address, x.At, x.Kind, x.Class, x.Enhanced, x.Diagnostic, x.Origin})
		})
		if err == nil {
			err = array.End()
		}
		return command.FirstError(err, buffered.Flush)
	}
	c := csv.NewWriter(buffered)
	// An error stays until Flush.
	_ = c.Write([]string{"address", "at", "kind", "class", "enhanced_code", "diagnostic", "origin"})
	err := s.Report(ctx, key, func(x events.Line) error {
		return c.Write([]string{
			guard(x.Address), x.At.UTC().Format(time.RFC3339), x.Kind, string(x.Class), guard(x.Enhanced), guard(x.Diagnostic),
			string(x.Origin),
		})
	})
	c.Flush()
	if err == nil {
		err = c.Error()
	}
	return command.FirstError(err, buffered.Flush)
}
