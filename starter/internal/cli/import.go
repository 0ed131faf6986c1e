package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
)

// maxShown is how many rejected rows are shown to people. JSON has all of them.
const maxShown = 20

// imported is the answer of an import.
type imported struct {
	lists.List
	Mapping []member.Column `json:"mapping"`
	Rejects []member.Reject `json:"rejects"`
	Pasted  []member.Pasted `json:"pasted"` // rows that lost marks around their address
}

func (i imported) describe() string {
	return status.Members(i.Members, i.Duplicates) + "; " + output.Count(i.Rejected, "row") + " rejected"
}

// openList opens a list file.
func openList(path string) (*csvlist.Reader, error) {
	r, err := csvlist.Open(path)
	return r, listFailure(err)
}

// importList stores the rows of r as the list of that name. It reports rejected rows by line on the
// standard error. With all it also returns all of them.
func (a *app) importList(
	ctx context.Context,
	s *store,
	name, path string,
	r *csvlist.Reader,
	replace, all bool,
) (imported, error) {
	file := output.Base(path)
	done := imported{Mapping: r.Mapping(), Rejects: []member.Reject{}, Pasted: []member.Pasted{}}
	shown := a.reportRejects(file, r, func(x member.Reject) {
		if all {
			done.Rejects = append(done.Rejects, x)
		}
	})
	if all {
		report := r.OnPasted
		r.OnPasted = func(x member.Pasted) {
			done.Pasted = append(done.Pasted, x)
			report(x)
		}
	}
	stop := a.showImport(ctx, r, file)
	var err error
	done.List, err = s.lists.Import(ctx, name, file, r.Columns(), r, replace)
	stop()
	shown()
	switch {
	case errors.Is(err, lists.ErrExists):
		return done, exit.Errorf(exit.Exists, "the list %s exists already: --replace replaces it", name)
	case errors.Is(err, lists.ErrEmpty):
		return done, exit.Errorf(exit.BadInput, "%s has no usable row: the list %s is unchanged", file, name)
	}
	return done, listFailure(err)
}

// reportRejects reports the first rejected rows of r while it is read, and calls each for all of
// them. It also reports the first rows that lose marks around their address. end says how many more
// there were.
func (a *app) reportRejects(file string, r *csvlist.Reader, each func(member.Reject)) (end func()) {
	var n, pasted int64
	r.OnPasted = func(x member.Pasted) {
		if pasted++; pasted <= maxShown {
			a.say("%s:%d: took %s off the address", file, x.Position, x.Taken)
		}
	}
	r.OnReject = func(x member.Reject) {
		if n++; n <= maxShown {
			a.say("%s:%d: %s", file, x.Position, output.Clean(x.Reason))
		}
		each(x)
	}
	return func() {
		if n > maxShown {
			a.say("… and %s more", output.Thousands(n-maxShown))
		}
		if pasted > maxShown {
			a.say("… and %s whose address lost such marks", output.Count(pasted-maxShown, "more row"))
		}
	}
}

// listFailure gives an error about a list file its exit code, and only its own words.
func listFailure(err error) error {
	var fault *csvlist.Error
	if errors.As(err, &fault) {
		return exit.With(exit.BadInput, fault)
	}
	return err
}

// showImport shows a progress bar by octets, where the standard error is a terminal and the file
// has a size.
func (a *app) showImport(ctx context.Context, r *csvlist.Reader, name string) (stop func()) {
	columns, ok := output.Terminal(a.Err)
	if !ok || r.Size() == 0 {
		return func() {}
	}
	bar := output.NewByteBar(a.Err, columns, name)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			bar.Set(r.BytesRead(), r.Size())
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() {
		cancel()
		<-done
		bar.Set(r.BytesRead(), r.Size())
		bar.Stop()
	}
}

// find returns the first row of the file that match accepts, and its number among the addresses. It
// returns io.EOF when there is none.
func find(path string, match func(member.Member) bool) (m member.Member, number int32, err error) {
	r, err := openList(path)
	if err != nil {
		return m, 0, err
	}
	defer r.Close()
	seen := map[string]struct{}{}
	for {
		if m, err = r.Next(); err != nil {
			if err == io.EOF {
				return m, 0, io.EOF
			}
			return m, 0, listFailure(err)
		}
		seen[m.Address.Key()] = struct{}{}
		if match(m) {
			return m, int32(len(seen)), nil
		}
	}
}
