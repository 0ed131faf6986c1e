package render

import (
	"context"
	"errors"
	"fmt"
	"text/template"
)

// What the author of a template may use up. A step takes up to about a tenth of a microsecond: the
// evaluation of one part of an action, or some octets that a function reads or makes. Steps, unlike
// time, are the same on a busy machine, and after a worker was stopped for a while.
const (
	maxSteps      = 1 << 22 // for one message
	maxBatchSteps = 1 << 28 // for the messages of one Renderer: a batch
	maxOctets     = 64 << 20
	maxBytes      = 10 << 20 // that one part writes
)

// engine returns the engine of a part that spends the budget.
func (b *budget) engine(p *part) *template.Template {
	if b == nil {
		return p.engine(nil)
	}
	t := b.engines[p]
	if t == nil {
		t = p.engine(b)
		b.engines[p] = t
	}
	return t
}

// lookEvery is how many steps are taken between two looks at the context.
const lookEvery = 1 << 13

var (
	errTooLong = errors.New("the output is longer than 10 MiB")
	errSteps   = errors.New("takes more than 4 million steps for one recipient: its loops go round too often, " +
		"or its functions get too much text. Let the query or the list say what is the same for many recipients")
	errOctets = errors.New("its functions make more than 64 MiB for one recipient: " +
		"let them make less, or call them less often")
)

// ErrBatchTooSlow says that the messages of one batch take too many steps. No recipient is blamed.
var ErrBatchTooSlow = errors.New("the messages of a batch take more than 268 million steps to render: " +
	"make the templates simpler, or batch_size smaller")

// budget is what is left for a message and for a batch. It ends the work: each round of a loop,
// each call of a template and each function asks it before it goes on. A nil budget has no end; it
// is for functions that are only looked at.
type budget struct {
	ctx    context.Context
	most   int // steps of a message
	steps  int // left for the message
	octets int // left for what functions make for the message
	look   int // the number of steps left at which the context is looked at
	batch  int // steps left for the batch

	patterns map[string]*pattern
	engines  map[*part]*template.Template // made when they are needed
}

func newBudget(ctx context.Context) *budget {
	b := &budget{ctx: ctx, most: maxSteps, batch: maxBatchSteps, engines: map[*part]*template.Template{}}
	_ = b.begin()
	return b
}

// begin fills the budget up for the next message.
func (b *budget) begin() error {
	if b.batch < 0 {
		return ErrBatchTooSlow
	}
	b.steps, b.octets, b.look = b.most, maxOctets, b.most-lookEvery
	return nil
}

// end takes what a message has used from the batch.
func (b *budget) end() { b.batch -= b.most - b.steps }

// spend takes steps. An error ends the work.
func (b *budget) spend(steps int) error {
	if b == nil {
		return nil
	}
	if b.steps -= min(steps, maxSteps+1); b.steps >= b.look {
		return nil
	}
	return b.check()
}

func (b *budget) check() error {
	if b.steps < 0 {
		return errSteps
	}
	if err := b.ctx.Err(); err != nil {
		return &stoppedError{err}
	}
	b.look = max(b.steps-lookEvery, 0)
	return nil
}

// octetsPerStep is how much a function reads or makes in a step.
const octetsPerStep = 32

// read takes the steps for a text of a length that a function goes through.
func (b *budget) read(octets int) error { return b.spend(1 + octets/octetsPerStep) }

// keep takes what a function has made. Variables may hold it until the message is done.
func (b *budget) keep(octets int) error {
	if b == nil {
		return nil
	}
	if b.octets -= octets; b.octets < 0 {
		return errOctets
	}
	return b.read(octets)
}

// stoppedError says that the context has ended. It is no problem of the recipient.
type stoppedError struct{ cause error }

func (e *stoppedError) Error() string { return fmt.Sprintf("rendering was stopped: %v", e.cause) }
func (e *stoppedError) Unwrap() error { return e.cause }

// exceeded returns the error of a budget in err, or nil.
func exceeded(err error) error {
	for _, each := range []error{errTooLong, errSteps, errOctets} {
		if errors.Is(err, each) {
			return each
		}
	}
	return nil
}
