// Package listfile reads list files as the commands do: it reports rejected rows by line, shows the
// progress, and stores the rows as a list.
package listfile

import (
	"context"
	"errors"
	"io"
	"time"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
)

// MaxShown is how many rejected rows are shown to people. JSON has all of them.
const MaxShown = 20

// Imported is the answer of an import.
type Imported struct {
	lists.List
	Mapping []member.Column `json:"mapping"`
	Rejects []member.Reject `json:"rejects"`
	Pasted  []member.Pasted `json:"pasted"` // rows that lost marks around their address
}

// Describe says in one line what was imported.
func (i Imported) Describe() string {
	return status.Members(i.Members, i.Duplicates) + "; " + output.Count(i.Rejected, "row") + " rejected"
}

// Open opens a list file.
func Open(path string) (*csvlist.Reader, error) {
	r, err := csvlist.Open(path)
	return r, Failure(err)
}

// Import stores the rows of r as the list of that name. It reports rejected rows by line on the
// standard error. With all it also returns all of them.
func Import(
	ctx context.Context,
	a command.App,
	s *command.Store,
	name, path string,
	r *csvlist.Reader,
	replace, all bool,
) (Imported, error) {
	file := output.Base(path)
	done := Imported{Mapping: r.Mapping(), Rejects: []member.Reject{}, Pasted: []member.Pasted{}}
	shown := ReportRejects(a, file, r, func(x member.Reject) {
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
	stop := showProgress(ctx, a, r, file)
	var err error
	done.List, err = s.Lists.Import(ctx, name, file, r.Columns(), r, replace)
	stop()
	shown()
	switch {
	case errors.Is(err, lists.ErrExists):
		return done, exit.Errorf(exit.Exists, "the list %s exists already: --replace replaces it", name)
	case errors.Is(err, lists.ErrEmpty):
		return done, exit.Errorf(exit.BadInput, "%s has no usable row: the list %s is unchanged", file, name)
	}
	return done, Failure(err)
}

// ReportRejects reports the first rejected rows of r while it is read, and calls each for all of
// them. It also reports the first rows that lose marks around their address. end says how many more
// there were.
func ReportRejects(a command.App, file string, r *csvlist.Reader, each func(member.Reject)) (end func()) {
	var n, pasted int64
	r.OnPasted = func(x member.Pasted) {
		if pasted++; pasted <= MaxShown {
			a.Say("%s:%d: took %s off the address", file, x.Position, x.Taken)
		}
	}
	r.OnReject = func(x member.Reject) {
		if n++; n <= MaxShown {
			a.Say("%s:%d: %s", file, x.Position, output.Clean(x.Reason))
		}
		each(x)
	}
	return func() {
		if n > MaxShown {
			a.Say("… and %s more", output.Thousands(n-MaxShown))
		}
		if pasted > MaxShown {
			a.Say("… and %s whose address lost such marks", output.Count(pasted-MaxShown, "more row"))
		}
	}
}

// Failure gives an error about a list file its exit code, and only its own words.
func Failure(err error) error {
	var fault *csvlist.Error
	if errors.As(err, &fault) {
		return exit.With(exit.BadInput, fault)
	}
	return err
}

// showProgress shows a progress bar by octets, where the standard error is a terminal and the file
// has a size.
func showProgress(ctx context.Context, a command.App, r *csvlist.Reader, name string) (stop func()) {
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

// Find returns the first row of the file that match accepts, and its number among the addresses. It
// returns io.EOF when there is none.
func Find(path string, match func(member.Member) bool) (m member.Member, number int32, err error) {
	r, err := Open(path)
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
			return m, 0, Failure(err)
		}
		seen[m.Address.Key()] = struct{}{}
		if match(m) {
			return m, int32(len(seen)), nil
		}
	}
}
