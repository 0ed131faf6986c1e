package workflows

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// SealCall names what one run of a mailing hands to the next. The seal is a keyed hash of it, and
// only the workers of this database can make it.
//
// Temporal's own fields are no proof. A cron schedule, a retry policy, or another workflow that
// continues as a Mailing starts a run with a previous run and an input of somebody's choice. With a
// forged progress, such a run would skip the checks of OpenMailing and send a mailing that its
// owner has terminated.
type SealCall struct {
	Mailing    string `json:"mailing"`
	FirstRunID string `json:"first_run_id"`
	// RunID is the run that hands over.
	RunID string `json:"run_id"`
	// Digest is the SHA-256 of the next run's input, in hexadecimal digits.
	Digest string `json:"digest"`
}

// SealCheck asks whether a seal is that of a call.
type SealCheck struct {
	SealCall
	Seal string `json:"seal"`
}

// sealed returns the input of the next run, sealed. It waits for the seal, during which an operator
// may pause or cancel the mailing. So it looks at the progress again afterwards. The error is that
// of ctx if the mailing ends early meanwhile: the next run would not know of it.
func (m *mailing) sealed(ctx workflow.Context) (Input, error) {
	info := workflow.GetInfo(ctx)
	ctx = workflow.WithLocalActivityOptions(ctx, policy.LocalOptions())
	for {
		if err := awaitHandlers(ctx); err != nil {
			return Input{}, err
		}
		next, digest, err := m.nextInput()
		if err != nil {
			return Input{}, err
		}
		call := SealCall{
			Mailing: m.id, FirstRunID: info.FirstRunID, RunID: info.WorkflowExecution.RunID, Digest: digest,
		}
		var seal string
		if err := workflow.ExecuteLocalActivity(ctx, policy.SealProgress, call).Get(ctx, &seal); err != nil {
			return Input{}, err
		}
		if err := ctx.Err(); err != nil {
			return Input{}, err
		}
		if _, now, err := m.nextInput(); err != nil {
			return Input{}, err
		} else if now == digest && workflow.AllHandlersFinished(ctx) {
			next.Resume.Seal = seal
			return next, nil
		}
	}
}

// nextInput returns the input of the next run without a seal, and its digest.
func (m *mailing) nextInput() (next Input, digest string, err error) {
	next = m.in
	progress := m.progress()
	next.Resume = &progress
	digest, err = digestOf(next)
	return next, digest, err
}

// checkSeal returns an error if no run of the mailing has handed over this input.
func checkSeal(ctx workflow.Context, in Input) error {
	digest, err := digestOf(in)
	if err != nil {
		return err
	}
	info := workflow.GetInfo(ctx)
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	ctx = workflow.WithLocalActivityOptions(ctx, policy.LocalOptions())
	check := SealCheck{
		SealCall: SealCall{
			Mailing: info.WorkflowExecution.ID, FirstRunID: info.FirstRunID, RunID: info.ContinuedExecutionRunID,
			Digest: digest,
		},
		Seal: in.Resume.Seal,
	}
	var good bool
	if err := workflow.ExecuteLocalActivity(ctx, policy.CheckSeal, check).Get(ctx, &good); err != nil {
		return err
	}
	if !good {
		return refusedInput(Problem{"resume", "is set by the workflow itself only"})
	}
	return nil
}

// digestOf returns the SHA-256 of an input without its seal, as the next run reads it: a text that
// is encoded, decoded and encoded again is the same in both runs.
func digestOf(in Input) (string, error) {
	if in.Resume != nil {
		progress := *in.Resume
		progress.Seal = ""
		in.Resume = &progress
	}
	first, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("encode the progress: %w", err)
	}
	var read Input
	if err := json.Unmarshal(first, &read); err != nil {
		return "", fmt.Errorf("decode the progress: %w", err)
	}
	second, err := json.Marshal(read)
	if err != nil {
		return "", fmt.Errorf("encode the progress: %w", err)
	}
	sum := sha256.Sum256(second)
	return hex.EncodeToString(sum[:]), nil
}

func refusedInput(p Problem) error {
	return temporal.NewNonRetryableApplicationError("invalid input: "+p.String(), policy.InvalidInput, nil, []Problem{p})
}
