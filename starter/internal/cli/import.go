package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/lists"
)

// maxShown is how many rejected rows are shown to people; JSON has all of them.
const maxShown = 20

// imported is the answer of an import.
type imported struct {
	lists.List
	Rejects []reject `json:"rejects"`
}

func (i imported) describe() string {
	return describeMembers(i.Members, i.Duplicates) + "; " + count(i.Rejected, "row") + " rejected"
}

type reject struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// importList stores the file as the list of that name, and reports rejected rows by line on the standard error: all of them are
// returned too if all is set.
func (a *app) importList(ctx context.Context, s *store, name, path string, replace, all bool) (imported, error) {
	r, err := csvlist.Open(path)
	if err != nil {
		return imported{}, fileFault(err)
	}
	defer r.Close()
	done := imported{Rejects: []reject{}}
	var shown int64
	r.OnReject = func(x csvlist.Reject) {
		if shown++; shown <= maxShown {
			a.say("%s:%d: %s", base(path), x.Line, clean(x.Reason))
		}
		if all {
			done.Rejects = append(done.Rejects, reject{x.Line, x.Reason})
		}
	}
	stop := a.showImport(ctx, r, base(path))
	done.List, err = s.lists.Import(ctx, name, base(path), r.Columns(), listFile{r}, replace)
	stop()
	if shown > maxShown {
		a.say("… and %s more", thousands(shown-maxShown))
	}
	switch {
	case errors.Is(err, lists.ErrExists):
		return done, failf(Exists, "the list %s exists already: --replace replaces it", name)
	case errors.Is(err, lists.ErrEmpty):
		return done, failf(BadInput, "%s has no usable row: the list %s is as it was", base(path), name)
	}
	return done, fileFault(err)
}

// fileFault gives a fault of a list file its exit code, and its own words only.
func fileFault(err error) error {
	var fault *csvlist.Error
	if errors.As(err, &fault) {
		return &failure{BadInput, fault}
	}
	return err
}

// listFile hands the rows of a file to an import.
type listFile struct{ *csvlist.Reader }

func (s listFile) Next() (lists.Member, error) {
	m, err := s.Reader.Next()
	return lists.Member{Position: int64(m.Line), Address: m.Address.String(), Key: m.Address.Key(), Attributes: m.Attributes}, err
}

// showImport shows a progress bar by octets where the standard error is a terminal and the file has a size.
func (a *app) showImport(ctx context.Context, r *csvlist.Reader, name string) (stop func()) {
	if _, ok := terminal(a.Err); !ok || r.Size() == 0 {
		return func() {}
	}
	container := mpb.New(mpb.WithOutput(a.Err), mpb.WithAutoRefresh(), mpb.WithWidth(40))
	bar := container.New(r.Size(), barStyle(), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f"), decor.AverageSpeed(decor.SizeB1024(0), "  % .1f")))
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			bar.SetCurrent(min(r.BytesRead(), r.Size()-1)) // the end is said by stop
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() {
		cancel()
		<-done
		bar.Abort(true)
		container.Wait()
	}
}

// find returns the first row of the file that pick wants and its number among the addresses; io.EOF when there is none.
func find(path string, pick func(csvlist.Member) bool) (m csvlist.Member, number int32, err error) {
	r, err := csvlist.Open(path)
	if err != nil {
		return m, 0, fileFault(err)
	}
	defer r.Close()
	seen := map[string]struct{}{}
	for {
		if m, err = r.Next(); err != nil {
			if err == io.EOF {
				return m, 0, io.EOF
			}
			return m, 0, fileFault(err)
		}
		seen[m.Address.Key()] = struct{}{}
		if pick(m) {
			return m, int32(len(seen)), nil
		}
	}
}
