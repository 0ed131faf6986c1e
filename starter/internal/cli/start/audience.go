package start

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"time"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/field"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/query"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/content/render"
	"directmailer/internal/ledger"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/listfile"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/sample"
)

// audience reads the members of a mailing's audience as they are now.
type audience struct {
	// unit is what a position counts: "line" of a file, "row" of an answer, "recipient" of an
	// earlier mailing.
	unit string
	// total is how much there is to read, and read how much of it has been read. They are 0 and nil
	// if that is not known.
	total int64
	read  func() int64
	// rejected is how many rows so far are left out because they cannot be used.
	rejected func() int64
	// each reads all members and calls add for them. It returns the error of add.
	each func(add func(sample.Member) error) error
	// end ends the reading, and reports what was decided.
	end func()
}

// openAudience opens the audience of a mailing. s is nil where the database is not needed, which is
// for a list file and a query.
func (a *app) openAudience(ctx context.Context, s *command.Store, p plan, done *atomic.Int64) (audience, error) {
	none := func() int64 { return 0 }
	switch {
	case p.listFile != "":
		return a.openFile(p.list)
	case p.in.Query != nil:
		return a.openQuery(ctx, p)
	case p.in.Continue != nil:
		each := func(add func(sample.Member) error) error { return eachContinued(ctx, s, p, add) }
		return audience{unit: "recipient", rejected: none, each: each, end: func() {}}, nil
	}
	l, err := s.Lists.Get(ctx, p.in.List)
	if errors.Is(err, lists.ErrNotFound) {
		return audience{}, exit.Errorf(exit.NotFound, "no list is named %s, and %s names no file for it", p.in.List, p.name)
	}
	each := func(add func(sample.Member) error) error {
		return s.Lists.Entries(ctx, p.in.List, math.MaxInt32, func(e lists.Entry) error {
			return add(memberOf(e.Position, e.Address, e.Attributes))
		})
	}
	return audience{unit: "line", total: l.Members, read: done.Load, rejected: none, each: each, end: func() {}}, err
}

func (a *app) openFile(f *csvlist.File) (audience, error) {
	r, err := f.Members()
	if err != nil {
		return audience{}, listfile.Failure(err)
	}
	report := listfile.ReportDecisions(a.App, f, r)
	return audience{
		unit: "line", total: r.Size(), read: r.BytesRead, rejected: r.Rejected,
		each: func(add func(sample.Member) error) error { return listfile.Failure(addRows(r, add)) },
		end: func() {
			report()
			_ = r.Close()
		},
	}, nil
}

// openQuery runs the query. This shell must have the source.
func (a *app) openQuery(ctx context.Context, p plan) (audience, error) {
	rows, err := a.runQuery(ctx, p)
	if err != nil {
		return audience{}, err
	}
	return audience{
		unit: "row", rejected: rows.Rejected,
		each: func(add func(sample.Member) error) error { return queryFailure(p, addRows(rows, add)) },
		end:  rows.Close,
	}, nil
}

// runQuery runs the query of a mailing, as a worker would, and checks the fields of the templates.
func (a *app) runQuery(ctx context.Context, p plan) (*query.Rows, error) {
	q := p.in.WithDefaults().Query
	sources, err := knownSources()
	if err != nil {
		return nil, err
	}
	if !sources.Has(q.Source) {
		return nil, exit.Errorf(exit.BadInput,
			"%s: DM_SOURCES of this shell has no source named %s: add it, because a preview runs the query",
			p.name, q.Source)
	}
	rows, err := sources.Query(ctx, q.Source, q.SQL, time.Duration(q.Timeout))
	if err != nil {
		return nil, queryFailure(p, err)
	}
	faults := faultList{name: p.name}
	faults.fields(p, rows.Columns())
	if err := faults.report(a); err != nil {
		rows.Close()
		return nil, err
	}
	return rows, nil
}

// rows are members that are read one by one, until io.EOF.
type rows interface {
	Next() (member.Member, error)
}

func memberOf(position int64, address string, attributes field.Values) sample.Member {
	return sample.Member{Position: position, Recipient: render.Recipient{Address: address, Attributes: attributes}}
}

func addRows(from rows, add func(sample.Member) error) error {
	for {
		m, err := from.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		to := sample.Member{Position: m.Position, Recipient: render.Recipient{Address: m.Address.String()}}
		if err := json.Unmarshal(m.Attributes, &to.Recipient.Attributes); err != nil {
			return err
		}
		if err := add(to); err != nil {
			return err
		}
	}
}

// eachContinued reads the recipients of the earlier mailing that are continued.
func eachContinued(ctx context.Context, s *command.Store, p plan, add func(sample.Member) error) error {
	c := p.in.WithDefaults().Continue
	old, err := s.Mailings.Get(ctx, c.Mailing)
	if err != nil {
		return command.NotFound(err, c.Mailing)
	}
	var numbers []int32
	flush := func() error {
		err := s.Recipients.Numbered(ctx, old.Key, numbers, func(r recipients.Recipient) error {
			return add(memberOf(int64(r.Number), r.Address, r.Attributes))
		})
		numbers = numbers[:0]
		return err
	}
	err = s.Ledger.Report(ctx, old.Key, outcomesOf(*c), func(l ledger.Line) error {
		if numbers = append(numbers, l.Number); len(numbers) < command.KeysAtOnce {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return err
}
