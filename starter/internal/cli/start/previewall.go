package start

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/sample"
)

// everybody is the answer of `starter preview --all`.
type everybody struct {
	Audience string `json:"audience"`
	Rendered int64  `json:"rendered"` // members, with and without a message
	Rejected int64  `json:"rejected"` // rows of a file or an answer that cannot be used
	Failed   int64  `json:"failed"`   // members without a message
	// LargestMessage is in octets.
	LargestMessage int      `json:"largest_message"`
	Reasons        []reason `json:"reasons"`
}

// reason is why members would fail.
type reason struct {
	Members int64  `json:"members"`
	Place   string `json:"place"` // in the file
	Field   string `json:"field"`
	Message string `json:"message"`
	// Unit is what Examples count: lines of a file, rows of an answer, recipients of a mailing.
	Unit     string  `json:"unit"`
	Examples []int64 `json:"examples"`
}

var reasons = output.Table[reason]{
	{Title: "would fail", Right: true, Cell: func(r reason) string { return output.Thousands(r.Members) }},
	{Title: "place", Wrap: 30, Cell: func(r reason) string { return output.Clean(r.Place) }},
	{Title: "reason", Wrap: 40, Cell: func(r reason) string { return output.Clean(r.Field + ": " + r.Message) }},
	{Title: "for example", Wrap: 20, Cell: reason.examples},
}

func (r reason) examples() string {
	numbers := make([]string, len(r.Examples))
	for i, n := range r.Examples {
		numbers[i] = fmt.Sprint(n)
	}
	unit := r.Unit
	if len(numbers) > 1 {
		unit += "s"
	}
	text := unit + " " + strings.Join(numbers, ", ")
	if r.Members > int64(len(numbers)) {
		text += ", …"
	}
	return text
}

// everybodys describes the answer of `starter preview --all`.
var everybodys = output.Record[everybody]{
	Fields: func(r everybody) []output.Field {
		return []output.Field{
			{Name: "audience", Text: r.Audience},
			{Name: "rendered", Text: output.Thousands(r.Rendered)},
			{Name: "rejected rows", Text: output.Thousands(r.Rejected)},
			{Name: "would fail", Text: output.Thousands(r.Failed)},
			{Name: "largest message", Text: output.Count(r.LargestMessage, "octet")},
		}
	},
	Rest: func(w io.Writer, r everybody) {
		if len(r.Reasons) > 0 {
			reasons.Render(w, r.Reasons)
		}
		fmt.Fprintln(w, "preview: nothing was stored, nothing was sent")
	},
}

// previewAll renders the messages of everybody, and says who would fail and why.
func (a *app) previewAll(ctx context.Context, file string, format *output.Format) error {
	p, err := a.readMailing(ctx, file, "")
	if err == nil {
		err = p.undecided()
	}
	if err != nil {
		return err
	}
	var s *command.Store
	if p.listFile == "" && p.in.Query == nil {
		if s, err = command.OpenStore(ctx); err != nil {
			return err
		}
		defer s.Close()
	}
	r, err := a.renderAll(ctx, s, p)
	if err != nil {
		return err
	}
	if err := everybodys.Write(a.Out, format, r); err != nil {
		return err
	}
	switch {
	case r.Failed > 0:
		return exit.Errorf(exit.NotCompleted, "%s of %s would fail", output.Thousands(r.Failed),
			output.Count(r.Rendered, "recipient"))
	case r.Rejected > 0:
		return exit.Errorf(exit.RowsRejected, "%s cannot be used", output.Count(r.Rejected, "row"))
	}
	return nil
}

func (a *app) renderAll(ctx context.Context, s *command.Store, p plan) (everybody, error) {
	r := everybody{Audience: p.in.Audience(), Reasons: []reason{}}
	trial, err := sample.NewTrial(ctx, p.in, sample.Known{}) // no key: signing fails for nobody, and takes long
	if err != nil {
		return r, err
	}
	var done atomic.Int64
	from, err := a.openAudience(ctx, s, p, &done)
	if err != nil {
		return r, err
	}
	stop := a.showRendering(from, &done)
	all, err := trial.RenderAll(ctx, &done, from.each)
	stop()
	from.end()
	if err != nil {
		return r, err
	}
	r.Rendered, r.Failed, r.LargestMessage, r.Rejected = all.Rendered, all.Failed, all.Largest, from.rejected()
	for _, each := range all.Reasons {
		r.Reasons = append(r.Reasons, reason{
			Members: each.Members, Place: p.file.Locate(each.Field, each.Line, each.Column),
			Field: each.Field, Message: each.Message, Unit: from.unit, Examples: each.Examples,
		})
	}
	return r, nil
}

// showRendering shows a progress bar where the standard error is a terminal.
func (a *app) showRendering(from audience, done *atomic.Int64) (stop func()) {
	columns, ok := output.Terminal(a.Err)
	if !ok {
		return func() {}
	}
	bar := output.NewBar(a.Err, columns, "rendering")
	show := func() {
		var read int64
		if from.read != nil {
			read = from.read()
		}
		bar.Show("rendering "+output.Thousands(done.Load()), read, from.total)
	}
	ended, shown := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(shown)
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			show()
			select {
			case <-ended:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(ended)
		<-shown
		show()
		bar.Stop()
	}
}
