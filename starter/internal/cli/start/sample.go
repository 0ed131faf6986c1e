package start

import (
	"context"
	"errors"
	"fmt"
	"time"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/query"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/listfile"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/sample"
)

// sampleTimeout bounds the time that a start waits for a query's rows. The workers wait longer.
const sampleTimeout = 30 * time.Second

// errEnough ends reading: the sample needs no more members.
var errEnough = errors.New("the sample is complete")

// trySample renders the messages of a sample of real recipients. The error says why the mailing
// must not start. Problems of some recipients are warnings.
func (a *app) trySample(ctx context.Context, s *command.Store, p plan) (sample.Result, error) {
	trial, err := newTrial(ctx, p)
	if err != nil {
		return sample.Result{}, err
	}
	chosen := trial.Sample()
	err = a.readSample(ctx, s, p, func(m sample.Member) error {
		if !chosen.Add(m.Recipient) {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return sample.Result{}, err
	}
	result := trial.Render(chosen)
	return result, a.reportSample(p, result)
}

// reportSample shows the problems of a sample. The error says that the mailing must not start.
func (a *app) reportSample(p plan, result sample.Result) error {
	if result.Failed == 0 {
		return nil
	}
	refused, others := result.Reasons()
	line := func(problem sample.Problem) string {
		at := problem.Error()
		if p.file != nil {
			at = fmt.Sprintf("%s: %s: %s", p.file.Locate(problem.Field, problem.Line, problem.Column),
				problem.Field, problem.Message)
		}
		return output.OneLine(fmt.Sprintf("%s (%s of a sample of %s)", at,
			output.Thousands(int64(problem.Recipients)), output.Count(result.Rendered, "recipient")))
	}
	for _, problem := range others {
		a.Say("warning: these recipients would fail: %s", line(problem))
	}
	if !result.Refused() {
		return nil
	}
	for _, problem := range refused {
		a.Say("%s", line(problem))
	}
	why := "the template fails whatever the recipient's fields are"
	if result.Failed == result.Rendered {
		why = "no recipient of the sample can be rendered"
	}
	return exit.Errorf(exit.BadInput, "%s: %s; nothing was done", p.name, why)
}

// readSample calls add for the first members of the audience. It returns the error of add.
func (a *app) readSample(ctx context.Context, s *command.Store, p plan, add func(sample.Member) error) error {
	switch {
	case p.listFile != "":
		return sampleOfFile(p.list, add)
	case p.in.Query != nil:
		return a.sampleOfQuery(ctx, p, add)
	case p.in.Continue != nil:
		return eachContinued(ctx, s, p, add)
	}
	return s.Lists.Entries(ctx, p.in.List, sample.MaxMembers, func(e lists.Entry) error {
		return add(memberOf(e.Position, e.Address, e.Attributes))
	})
}

func sampleOfFile(f *csvlist.File, add func(sample.Member) error) error {
	r, err := f.Members()
	if err != nil {
		return listfile.Failure(err)
	}
	defer r.Close()
	return listfile.Failure(addRows(r, add))
}

// sampleOfQuery runs the query, if this shell has the source. While the source does not answer, or
// takes long, the mailing starts without a sample: the workers wait for it.
func (a *app) sampleOfQuery(ctx context.Context, p plan, add func(sample.Member) error) error {
	q := p.in.WithDefaults().Query
	sources, err := knownSources()
	if err != nil || !sources.Has(q.Source) {
		return err
	}
	from, err := sources.Query(ctx, q.Source, q.SQL, min(time.Duration(q.Timeout), sampleTimeout))
	if err == nil {
		defer from.Close()
		err = addRows(from, add)
	}
	var away *query.Unavailable
	if errors.As(err, &away) {
		a.Say("warning: no sample of the recipients was rendered: %s", output.OneLine(err.Error()))
		return nil
	}
	return queryFailure(p, err)
}
