package main_test

import (
	"cmp"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"directmailer/internal/dev/smtptest"
	"directmailer/workflows"
)

var record = flag.String("record", "", "folder to write the histories of TestHistories into, for the replay tests: ../workflows/testdata/histories")

// Each subtest leads a mailing through other phases; with -record their histories become what later versions are replayed against.
func TestHistories(t *testing.T) {
	t.Parallel()
	refuse := func(phase, reply string, times int64) func(smtptest.Event) *smtptest.Action {
		return afterEach(phase, times, &smtptest.Action{Reply: reply})
	}
	var known atomic.Bool
	for name, test := range map[string]struct {
		members int // 20 unless it says so
		script  func(smtptest.Event) *smtptest.Action
		change  func(*workflows.Input)
		held    bool // the server takes two messages, and the others after steer
		steer   func(*plant)
	}{
		"completed": {},
		"deferred":  {script: refuse("RCPT", "451 4.7.1 later", 2)},
		"steered": {held: true, steer: func(p *plant) {
			p.steer(workflows.PauseUpdate)
			p.steer(workflows.RateUpdate, workflows.RateChange{DropPoint: "mx", Rate: "1000/s"})
			p.steer(workflows.ResumeUpdate)
		}},
		"cancelled-by-update": {held: true, steer: func(p *plant) { p.steer(workflows.CancelUpdate) }},
		"error-limit": {members: 60, script: func(e smtptest.Event) *smtptest.Action { // more than the first window of batches
			if e.Phase == "RCPT" && !known.Load() {
				return &smtptest.Action{Reply: "550 5.1.1 unknown"}
			}
			return nil
		}, steer: func(p *plant) {
			p.doing("it is suspended", func(s workflows.Status) bool { return s.State == workflows.StateSuspended })
			known.Store(true)
			p.steer(workflows.ResumeUpdate)
		}, change: func(in *workflows.Input) { in.MaxErrorPercent, in.ErrorMinimum = 50, 5 }},
		"paced": {change: func(in *workflows.Input) { in.Rates.Mailing = "1/min" }, steer: func(p *plant) {
			p.doing("it waits for its rate limit", func(s workflows.Status) bool { return strings.Contains(s.Doing, "rate limit") })
			p.steer(workflows.RateUpdate, workflows.RateChange{Rate: "none"})
		}},
		"suspended": {script: refuse("connect", "554 5.7.1 no", 6), change: func(in *workflows.Input) { in.Retry.DropPoint.Attempts = 1 }},
		"failed": {script: refuse("connect", "554 5.7.1 no", 1000), change: func(in *workflows.Input) {
			in.Retry.DropPoint.Attempts, in.OnExhausted = 1, workflows.Fail
		}},
		"invalid": {change: func(in *workflows.Input) { in.List = "nowhere" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stall := smtptest.NewStall("DOT", 2)
			if test.held {
				test.script = stall.Script
			}
			s := smtptest.Start(t, smtptest.Options{Script: test.script})
			p := newPlant(t, "mx=smtp://"+s.Addr()+"?connections=1")
			p.importList(cmp.Or(test.members, 20))
			p.startWorker()
			in := mailing(5)
			if test.change != nil {
				test.change(&in)
			}
			run := p.start(in)
			if test.steer != nil {
				p.doing("it is sending", func(s workflows.Status) bool {
					return s.State == workflows.StateSending || s.State == workflows.StateSuspended
				})
				test.steer(p)
			}
			stall.ReleaseAll()
			err := run.Get(t.Context(), nil)
			if failed := name == "failed" || name == "invalid"; (err != nil) != failed {
				t.Fatalf("it ended with %v", err)
			}
			if *record != "" {
				saveHistory(p, run.GetID(), run.GetRunID(), name)
			}
		})
	}
}

func saveHistory(p *plant, id, run, name string) {
	p.Helper()
	var h historypb.History
	events := p.temporal.GetWorkflowHistory(p.Context(), id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			p.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	data, err := protojson.MarshalOptions{Multiline: true, Indent: " "}.Marshal(&h)
	err = errors.Join(err, os.WriteFile(filepath.Join(*record, name+".json"), data, 0o644))
	if err != nil {
		p.Fatal(err)
	}
}
