package sample

import (
	"cmp"
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"directmailer/internal/content/render"
)

const (
	// portion is how many members one goroutine takes at a time.
	portion = 100
	// maxReasons is how many different problems are counted one by one.
	maxReasons = 100
	// MaxExamples is how many members are named for a problem.
	MaxExamples = 5
)

// Member is a member of an audience, and its place there: a line or the number of a row.
type Member struct {
	Position  int64
	Recipient render.Recipient
}

// Everybody is what rendering a whole audience has shown. It holds no recipient data.
type Everybody struct {
	Rendered int64 // members, with and without a message
	Failed   int64 // members without a message
	Largest  int   // the largest message, in octets
	// Reasons are the different problems, the commonest first.
	Reasons []Reason
}

// Reason is a problem of members.
type Reason struct {
	render.Problem
	Members int64
	// Examples are the positions of the first members with the problem, at most [MaxExamples].
	Examples []int64
}

// RenderAll renders the messages of all members that each gives, on all processors. It keeps no
// message and fetches no page. done counts the members, while others may read it. The error is that
// of each.
func (t *Trial) RenderAll(
	ctx context.Context, done *atomic.Int64, each func(add func(Member) error) error,
) (Everybody, error) {
	portions := make(chan []Member, 2*runtime.GOMAXPROCS(0))
	free := make(chan []Member, cap(portions)+runtime.GOMAXPROCS(0))
	tallies := make([]tally, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for i := range tallies {
		tallies[i].reasons = map[render.Problem]*Reason{}
		workers.Go(func() {
			for members := range portions {
				one := newTrial(ctx, t.in, t.content, t.known) // a batch's budget is for one portion
				for _, m := range members {
					problem := one.render(m.Recipient)
					tallies[i].add(m.Position, len(one.message), problem)
				}
				done.Add(int64(len(members)))
				clear(members)
				select {
				case free <- members[:0]:
				default:
				}
			}
		})
	}
	err := hand(ctx, portions, free, each)
	close(portions)
	workers.Wait()
	return gather(tallies), err
}

// hand gives the members to the goroutines in portions.
func hand(
	ctx context.Context, portions chan<- []Member, free <-chan []Member, each func(add func(Member) error) error,
) error {
	var members []Member
	give := func() error {
		select {
		case portions <- members:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case members = <-free:
		default:
			members = make([]Member, 0, portion)
		}
		return nil
	}
	err := each(func(m Member) error {
		if members = append(members, m); len(members) < portion {
			return nil
		}
		return give()
	})
	if err == nil && len(members) > 0 {
		err = give()
	}
	return err
}

// tally counts the members of one goroutine.
type tally struct {
	rendered, failed int64
	largest          int
	reasons          map[render.Problem]*Reason
}

func (c *tally) add(position int64, length int, problem *render.Problem) {
	c.rendered++
	if problem == nil {
		c.largest = max(c.largest, length)
		return
	}
	c.failed++
	reason := c.reason(*problem)
	reason.Members++
	reason.Examples = firstOf(reason.Examples, position)
}

func (c *tally) reason(p render.Problem) *Reason {
	if _, there := c.reasons[p]; !there && len(c.reasons) >= maxReasons {
		p = render.Problem{Field: render.FieldContent, Message: "other reasons"}
	}
	if c.reasons[p] == nil {
		c.reasons[p] = &Reason{Problem: p}
	}
	return c.reasons[p]
}

// firstOf keeps the lowest positions in order.
func firstOf(examples []int64, more ...int64) []int64 {
	examples = append(examples, more...)
	slices.Sort(examples)
	return examples[:min(len(examples), MaxExamples)]
}

// gather adds the tallies up.
func gather(tallies []tally) Everybody {
	all := tally{reasons: map[render.Problem]*Reason{}}
	for _, c := range tallies {
		all.rendered += c.rendered
		all.failed += c.failed
		all.largest = max(all.largest, c.largest)
		for _, r := range c.reasons {
			into := all.reason(r.Problem)
			into.Members += r.Members
			into.Examples = firstOf(into.Examples, r.Examples...)
		}
	}
	e := Everybody{Rendered: all.rendered, Failed: all.failed, Largest: all.largest}
	for _, r := range slices.Collect(maps.Values(all.reasons)) {
		e.Reasons = append(e.Reasons, *r)
	}
	slices.SortFunc(e.Reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Members, a.Members), cmp.Compare(a.Error(), b.Error()))
	})
	return e
}
