// Package listfile reads list files as the commands do: it reports rejected rows by line, shows the
// progress, and stores the rows as a list.
package listfile

import (
	"context"
	"errors"
	"io"
	"strings"
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
	Decisions
	Rejects []member.Reject `json:"rejects"`
	Pasted  []member.Pasted `json:"pasted"` // rows that lost marks around their address
}

// Describe says in one line what was imported.
func (i Imported) Describe() string {
	return status.Members(i.Members, i.Duplicates) + "; " + output.Count(i.Rejected, "row") + " rejected"
}

// Open inspects a list file. It reports several faults on the standard error, one a line.
func Open(ctx context.Context, a command.App, path string, o csvlist.Options) (*csvlist.File, error) {
	f, err := csvlist.Inspect(ctx, path, o)
	var faults *csvlist.Faults
	if errors.As(err, &faults) && len(faults.First) > 1 {
		for line := range strings.SplitSeq(faults.Error(), "\n") {
			a.Say("%s", output.OneLine(line))
		}
		n := faults.More + int64(len(faults.First))
		return nil, exit.Errorf(exit.BadInput, "%s: %s; nothing was imported", output.Base(path), output.Count(n, "problem"))
	}
	return f, Failure(err)
}

// Import stores the rows of the file as the list of that name. It reports rejected rows by line on
// the standard error. With all it also returns all of them.
func Import(
	ctx context.Context, a command.App, s *command.Store, name string, f *csvlist.File, replace, all bool,
) (Imported, error) {
	file := output.Base(f.Name())
	done := Imported{Rejects: []member.Reject{}, Pasted: []member.Pasted{}}
	r, err := f.Members()
	if err != nil {
		return done, Failure(err)
	}
	defer r.Close()
	r.WithInactive = true
	reasons := reasonCounts{}
	shown := ReportRejects(a, file, r, func(x member.Reject) {
		reasons.add(x.Reason)
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
	done.List, err = s.Lists.Import(ctx, name, file, r.Columns(), r, replace)
	stop()
	shown()
	done.Decisions = decisionsOf(f, r, reasons)
	done.Contradicted = r.Active() - done.List.Members
	switch {
	case errors.Is(err, lists.ErrExists):
		return done, exit.Errorf(exit.Exists, "the list %s exists already: --replace replaces it", name)
	case errors.Is(err, lists.ErrEmpty):
		for _, line := range done.Lines(file) {
			a.Say("%s", line)
		}
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

// ReportDecisions is ReportRejects for a file that is only read. end also says what was decided.
func ReportDecisions(a command.App, f *csvlist.File, r *csvlist.Reader) (end func()) {
	reasons := reasonCounts{}
	file := output.Base(f.Name())
	shown := ReportRejects(a, file, r, func(x member.Reject) { reasons.add(x.Reason) })
	return func() {
		shown()
		for _, line := range decisionsOf(f, r, reasons).Lines(file) {
			a.Say("%s", line)
		}
	}
}

// Failure gives an error about a list file its exit code, and only its own words.
func Failure(err error) error {
	var faults *csvlist.Faults
	var fault *csvlist.Error
	var undecided *csvlist.UndecidedError
	switch {
	case errors.As(err, &faults):
		return exit.With(exit.BadInput, faults)
	case errors.As(err, &fault):
		return exit.With(exit.BadInput, fault)
	case errors.As(err, &undecided):
		return exit.Errorf(exit.BadInput, "%w. Give --status use (only the active are members) "+
			"or --status ignore (everybody is a member)", undecided)
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

// Find returns the first member of the file that match accepts, and its number among the addresses.
// It returns io.EOF when there is none.
func Find(f *csvlist.File, match func(member.Member) bool) (m member.Member, number int32, err error) {
	r, err := f.Members()
	if err != nil {
		return m, 0, Failure(err)
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
