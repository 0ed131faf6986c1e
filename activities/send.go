package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/content/message"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// turn is how long a batch is sent before it goes to the end of the queue. Because of turns, a
// worker has a free slot every few seconds, even with slow servers and low rates, and a small
// mailing does not wait for a large one.
const turn = 10 * time.Second

// maxSilence is how long Temporal may answer no heartbeat while a batch goes on after its turn, or
// before it is claimed. The other half of the timeout is for the answers to the messages that are
// in flight then: after the timeout, Temporal gives the batch to another worker, to which they
// would be uncertain. A claim after the timeout would take the batch from that worker.
const maxSilence = policy.HeartbeatTimeout / 2

// SendBatch sends a batch for one turn to its recipients without an outcome, through any drop point
// with a free connection. It closes the batch when every recipient has an outcome or is deferred.
// After a crash, another attempt claims the batch again: the fence stops the earlier attempt, and
// the uncertain recipients are known by name.
//
// A worker whose connections are busy with the mailing hands the batch over before it claims it.
func (a *Activities) SendBatch(ctx context.Context, call workflows.SendCall) (workflows.SentBatch, error) {
	return attempt(ctx, call.Retry, func(ctx context.Context) (workflows.SentBatch, error) {
		points, err := a.pointsOf(call)
		if err != nil {
			return workflows.SentBatch{}, err
		}
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return workflows.SentBatch{}, err
		}
		for i := range points {
			key := evidenceKey{m.Key, points[i].Name()}
			points[i].Evidence = a.evidence.GetOrAdd(key, func() *sender.Evidence { return &sender.Evidence{} })
		}
		to := routeOf(points)
		slot := a.admission.acquire(m.Key, to)
		if slot == nil {
			return workflows.SentBatch{}, failf(policy.WorkerBusy,
				"the connections of this worker are busy with the mailing, or its drop points are slow: "+
					"the batch goes to another worker")
		}
		defer slot.release()
		defer a.SendSlots.lendWhen(slot.heldUp)()
		// After an outage, answers of this worker may be unwritten. The claim would make their
		// recipients uncertain.
		batch := ledger.Batch{Mailing: m.Key, Number: int32(call.Batch)}
		if err := a.gate.WriteKeptOf(ctx, batch); err != nil {
			return workflows.SentBatch{}, err
		}
		// Before the claim, which finds the opt-outs of before.
		optOuts, err := a.optOuts.Open(ctx, m.OptOutScopes)
		if err != nil {
			return workflows.SentBatch{}, err
		}
		defer optOuts.Close()
		claim, err := a.claim(ctx, batch, call.OnUncertain)
		if err != nil {
			return workflows.SentBatch{}, err
		}
		out := sentBatch(claim.Settled) // closed if an earlier attempt has closed it and its answer was lost
		if !claim.Settled.Closed {
			out, err = a.sendTurn(ctx, call, m, claim, points, slot, optOuts)
			if err != nil { // the next claim may be that of another worker
				_ = a.gate.WriteKeptOf(ctx, batch)
			}
		}
		out.Worker, out.HandedOver = a.worker, previousCounts(ctx).Busy
		if n, countErr := a.events.Counts(ctx, m.Key); countErr == nil { // or else the next turn brings it
			out.Returned = n.Hard
		}
		return out, err
	})
}

// claim claims a batch, unless another worker may have it. It reads the fence before it looks at
// the silence. So if the worker is stopped between that look and the claim, and another worker
// claims the batch meanwhile, the claim fails.
func (a *Activities) claim(
	ctx context.Context, b ledger.Batch, onUncertain workflows.OnUncertain,
) (*ledger.Claim, error) {
	fence, err := a.ledger.Fence(ctx, b)
	if err != nil {
		return nil, err
	}
	if temporalclient.Silence(ctx) > maxSilence {
		return nil, failf(policy.BatchTaken,
			"Temporal has not answered this attempt for %v: another worker may have the batch", maxSilence)
	}
	return a.ledger.Claim(ctx, b, fence, onUncertain == workflows.Hold)
}

// sendTurn sends a claimed batch for one turn.
func (a *Activities) sendTurn(
	ctx context.Context, call workflows.SendCall, m mailings.Mailing, claim *ledger.Claim,
	points []sender.DropPoint, at *slot, optOuts *optouts.View,
) (workflows.SentBatch, error) {
	messages, err := a.buffers.GetReader()
	if err != nil {
		return workflows.SentBatch{}, err
	}
	defer a.buffers.PutReader(messages)
	if err := messages.Reset(claim.Messages); err != nil {
		return workflows.SentBatch{}, a.renderAgain(ctx, claim, err)
	}
	sending := sender.New(sender.Batch{
		Claim: claim, Gate: a.gate, DropPoints: points, Hold: call.OnUncertain == workflows.Hold, Turn: turn,
		// This worker may lack drop points that others have.
		Others:   call.Others || len(points) < len(call.DropPoints),
		Next:     func(buf []byte) (sender.Message, error) { return nextMessage(messages, m.ID, buf) },
		Allow:    a.allow(m.Key),
		Stop:     activity.GetWorkerStopChannel(ctx),
		Silent:   func() bool { return temporalclient.Silence(ctx) > maxSilence },
		OptedOut: optOuts.Why,
		LeaveOut: func(ctx context.Context, excluded []ledger.Exclusion) error {
			return a.ledger.LeaveOut(ctx, claim, excluded)
		},
	})
	at.sends(sending.Load, turn)
	report, err := sending.Run(ctx)
	if err != nil {
		return workflows.SentBatch{}, a.renderAgain(ctx, claim, a.sendFailure(report, err))
	}
	notBefore := forWorkflow(ctx, sooner(report.NotBefore, time.Now().Add(maxRest)))
	out := workflows.SentBatch{NotBefore: notBefore, LimitsAll: report.LimitsAll}
	if report.Complete {
		settled, err := a.ledger.Settle(ctx, claim, schedule(call, report.Soon), func(recipients []int32) ([]byte, error) {
			return pack(recipients, [][]byte{claim.Messages})
		})
		if err != nil {
			return workflows.SentBatch{}, err
		}
		if settled.Open > 0 {
			return workflows.SentBatch{}, a.renderAgain(ctx, claim, errNotInSpool)
		}
		out = sentBatch(settled)
	} else if counts, err := a.ledger.Outcomes(ctx, claim); err == nil {
		// For the status only. After an error, the next turn brings the counts.
		out.Counts = counts
	}
	out.Refused, out.Limited, out.Points = report.Refused, report.Limited, pointReports(report)
	return out, nil
}

// errNotInSpool says that recipients without an outcome have no message in the spool of their
// batch.
var errNotInSpool = fmt.Errorf("%w: recipients without an outcome have no message in it", spool.ErrDamaged)

// renderAgain drops the spool of a batch if err says that it is damaged, and returns the error that
// makes the workflow render the batch again. Other errors it returns as they are. Because of the
// claim's fence, no other attempt is sending from the spool.
func (a *Activities) renderAgain(ctx context.Context, claim *ledger.Claim, err error) error {
	if !errors.Is(err, spool.ErrDamaged) {
		return err
	}
	if err := a.ledger.DropSpool(ctx, claim); err != nil {
		return err
	}
	return failf(policy.SpoolMissing, "batch %d is rendered again: %v", claim.Number, err)
}

// maxRest is the longest time that a batch rests for a rate limit, because the limit may have
// changed then.
const maxRest = time.Minute

// sooner returns the earlier of two times.
func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func sentBatch(s ledger.Settled) workflows.SentBatch {
	return workflows.SentBatch{
		Closed: s.Closed, Counts: s.Counts, Deferred: s.Deferred, NextRound: s.NextRound,
	}
}

func pointReports(r sender.Report) []workflows.DropPointReport {
	var out []workflows.DropPointReport
	for _, p := range r.DropPoints {
		one := workflows.DropPointReport{
			Name: p.Name, Accepted: p.Accepted, Answered: p.Answered, OpeningSince: p.OpeningSince, OpeningStep: p.OpeningStep,
		}
		if p.Failure != nil && !droppoint.OnlyLacksConnections(p.Failure) {
			_, one.Refuses = errors.AsType[*sender.RefusedError](p.Failure)
			one.Failure = pointFailure(p.Name, p.Failure)
		}
		if p.State.Reason != nil {
			one.Connections, one.FewerReason = p.State.Connections, p.State.Reason.Error()
		}
		if p.State.RateReason != nil {
			one.Rate, one.RateReason = p.State.Rate, p.State.RateReason.Error()
		}
		out = append(out, one)
	}
	return out
}

func pointFailure(name string, err error) string {
	var refuses *sender.RefusedError
	if errors.As(err, &refuses) {
		return fmt.Sprintf("drop point %s refuses us: %v", name, refuses)
	}
	return fmt.Sprintf("drop point %s: %v", name, err)
}

// schedule returns when recipients that are refused are tried again. Those of soon wait as long as
// a drop point rests after a failure.
func schedule(call workflows.SendCall, soon []int32) ledger.Schedule {
	d := call.Deferral
	return ledger.Schedule{
		First: time.Duration(d.First), Most: time.Duration(d.Most), For: time.Duration(d.For), RetryAfter: smtp.RetryAfter,
		Soon: soon, SoonPause: time.Duration(call.Retry.DropPoint.Interval),
	}
}

// nextMessage reads the next message of the spool, with buf as its buffer.
func nextMessage(messages *spool.Reader, mailing string, buf []byte) (sender.Message, error) {
	e := spool.Entry{Data: buf}
	if err := messages.Next(&e); err != nil {
		return sender.Message{}, err
	}
	return sender.Message{Recipient: e.Recipient, Message: droppoint.Message{
		From: e.From, To: e.To, Name: fileName(mailing, e.Recipient), UTF8: e.UTF8,
		Data: e.Data, Key: message.Key(mailing, e.Recipient, e.To),
	}}, nil
}

// sendFailure returns an error of package sender as a failure, with a report about each drop point
// for the workflow. Errors of the ledger and the database it returns as they are.
func (a *Activities) sendFailure(r sender.Report, err error) error {
	var refuses *sender.RefusedError
	var unavailable *sender.UnavailableError
	kind := policy.DropPointUnavailable
	switch {
	case errors.As(err, &refuses):
		kind = policy.DropPointRefuses
	case errors.As(err, &unavailable):
		if onlyLackConnections(r) {
			return failf(policy.WorkerBusy, "no connection for this worker now: the batch goes to another worker: %s",
				strings.Join(failures(r), "; "))
		}
	case errors.Is(err, sender.ErrStopped):
		return failf(policy.WorkerStopping, "%v", sender.ErrStopped)
	default:
		return err
	}
	reports := pointReports(r)
	out := workflows.SentBatch{Worker: a.worker, Points: reports, Refused: r.Refused}
	return &failure{kind: kind, text: strings.Join(failures(r), "; "), details: []any{out}}
}

// onlyLackConnections reports whether a drop point has failed, and each that has may only be busy
// with other workers.
func onlyLackConnections(r sender.Report) bool {
	any := false
	for _, p := range r.DropPoints {
		if p.Failure != nil && !droppoint.OnlyLacksConnections(p.Failure) {
			return false
		}
		any = any || p.Failure != nil
	}
	return any
}

// failures returns why each drop point that has failed could not be used.
func failures(r sender.Report) (texts []string) {
	for _, p := range r.DropPoints {
		if p.Failure != nil {
			texts = append(texts, pointFailure(p.Name, p.Failure))
		}
	}
	return texts
}

// fileName returns the name of a message's file in a drop directory. It is the same for every
// attempt.
func fileName(mailing string, recipient int32) string {
	return fmt.Sprintf("%s.%08d", mailing, recipient)
}
