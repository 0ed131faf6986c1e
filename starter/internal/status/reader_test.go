package status

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/events"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
)

// newReader returns a reader of a database that has the mailing "stored", which run "first" has
// reserved.
func newReader(t *testing.T) *Reader {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 4)
	store := mailings.New(pool)
	input := json.RawMessage(`{"drop_points": ["mx", "spare"]}`)
	if err := store.Reserve(t.Context(), "stored", "first", "people", input, feedback.Marks{}, "default"); err != nil {
		t.Fatal(err)
	}
	return NewReader(store, ledger.New(pool), events.New(pool))
}

// says returns a question to Temporal that is answered by w.
func says(w Workflow) func(context.Context) Workflow {
	return func(context.Context) Workflow { return w }
}

func TestTheDatabaseAndTemporalAreReadTogether(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	running := Workflow{Known: true, firstRunID: "first", pollers: 1, queue: "mail",
		answer: &workflows.Status{State: workflows.StatePreparing, Doing: "checks the input"}}
	s, err := r.Read(t.Context(), "stored", says(running))
	if err != nil || s.State != workflows.StatePreparing || s.Doing != "checks the input" || s.List != "people" ||
		len(s.DropPoints) != 2 {
		t.Errorf("running: %+v, %v", s, err)
	}
	another := running
	another.firstRunID = "another"
	if s, err = r.Read(t.Context(), "stored", says(another)); err != nil ||
		!strings.Contains(s.Doing, "no workflow for it") {
		t.Errorf("another mailing's workflow of the same ID: %+v, %v", s, err)
	}
	if s, err = r.Read(t.Context(), "stored", says(Workflow{Err: errors.New("refused")})); err != nil || !s.Stored {
		t.Errorf("without Temporal: %+v, %v", s, err)
	}
	started := Workflow{Known: true, queue: "mail", audience: "people", startedAt: time.Now()}
	s, err = r.Read(t.Context(), "fresh", says(started))
	if err != nil || s.State != StateStarted || s.Stored || s.List != "people" {
		t.Errorf("only in Temporal: %+v, %v", s, err)
	}
	if _, err = r.Read(t.Context(), "nowhere", says(Workflow{})); !errors.Is(err, ErrNotFound) {
		t.Errorf("nowhere: %v", err)
	}
	_, err = r.Read(t.Context(), "nowhere", says(Workflow{Err: errors.New("refused")}))
	if errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "Temporal cannot be asked: refused") {
		t.Errorf("nowhere, without Temporal: %v", err)
	}
}

// Somebody who follows a mailing from its start must not be told that there is none.
func TestOneReadOfAFollowerTellsAnAbsentServerFromTheEnd(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	read := func(id string, last Workflow, before Status) (Status, error) {
		asked := make(chan struct{})
		close(asked)
		return r.follow(t.Context(), id, &temporalFollower{last: last, asked: asked}, before)
	}
	away := Workflow{Err: errors.New("refused")}
	started := Status{ID: "fresh", State: StateStarted}
	s, err := read("fresh", away, started)
	if err != nil || s.State != StateStarted || !strings.Contains(s.Doing, "Temporal does not answer") {
		t.Errorf("only Temporal has it, and is away: %+v, %v", s, err)
	}
	var unasked *UnaskedError
	if _, err = read("fresh", away, Status{}); !errors.As(err, &unasked) {
		t.Errorf("never seen: %v", err)
	}
	if _, err = read("fresh", Workflow{}, started); !errors.Is(err, ErrNotFound) {
		t.Errorf("Temporal has forgotten it: %v", err)
	}
	var forgotten *ForgottenError
	for name, last := range map[string]Workflow{"none": {}, "another's": {Known: true, firstRunID: "another"}} {
		if _, err = read("stored", last, Status{}); !errors.As(err, &forgotten) {
			t.Errorf("the workflow is %s: %v", name, err)
		}
	}
	for name, last := range map[string]Workflow{"away": away, "running": {Known: true, firstRunID: "first"}} {
		if _, err = read("stored", last, Status{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shown keeps what is displayed.
type shown struct {
	all  []Status
	stop func()
}

func (d *shown) Show(s Status, _ string) {
	d.all = append(d.all, s)
	d.stop()
}

func (d *shown) End(Status) {}

func TestAMailingIsFollowedWhileTemporalIsAway(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	ctx, stop := context.WithCancel(t.Context())
	away := func(context.Context) (*temporalclient.Client, error) { return nil, errors.New("refused") }
	d := &shown{stop: stop}
	s, err := r.Follow(ctx, away, "stored", d)
	if !errors.Is(err, context.Canceled) || len(d.all) != 1 || !strings.Contains(s.Doing, "Temporal does not answer") {
		t.Errorf("%+v, %v, shown %d times", s, err, len(d.all))
	}
}
