package chaos

import (
	"math/rand/v2"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// poison makes the server close the connection at each of three recipients, until all others have
// an outcome. With the policy hold, not all of them get a message.
func (e *experiment) poison(random *rand.Rand) effect {
	const many = 3
	poisoned := map[string]bool{}
	e.receiver.mu.Lock()
	for _, n := range random.Perm(*chaosRecipients) {
		if to := rig.Address(n + 1); len(poisoned) < many && e.receiver.got[to] == nil {
			poisoned[to] = true
		}
	}
	e.receiver.mu.Unlock()
	action := []smtptest.Action{{Reply: "421 4.7.0 policy"}, {Reply: "452 4.3.1 disk full"}, {Die: true}}[random.IntN(3)]
	remove := e.receiver.addScript(func(event smtptest.Event) *smtptest.Action {
		if event.Phase != "RCPT" || !poisoned[event.To] {
			return nil
		}
		return &action
	})
	for e.outcomes() < *chaosRecipients-many && !e.isOver() {
		time.Sleep(50 * time.Millisecond)
	}
	remove()
	return effect{time.Now(), 0}
}

// outcomes returns how many recipients of the mailing have an outcome, and 0 while PostgreSQL does
// not answer.
func (e *experiment) outcomes() (many int) {
	err := e.Pool.QueryRow(e.Context(), `SELECT count(*) FROM deliveries
		WHERE final AND mailing = (SELECT key FROM mailings WHERE id = $1)`, e.ID()).Scan(&many)
	if err != nil {
		return 0
	}
	return many
}

// useUpQuota makes the server refuse every message, in words that it may have published or not,
// until the mailing has noticed, and for an outage longer.
//
// Beside other faults it uses known words only, because the scripts of those faults let some
// messages through. A recipient who is refused twice in unknown words, while others are accepted
// between, is rightly bounced.
func (e *experiment) useUpQuota(random *rand.Rand) effect {
	words := []string{"550 5.4.5 Daily user sending limit exceeded",
		"550 Domain example.com has exceeded the max emails per hour", "554 5.2.0 quota", "550 nothing more today"}
	if e.fault.name == "everything" {
		words = words[:2]
	}
	reply := words[random.IntN(len(words))]
	remove := e.receiver.addScript(func(event smtptest.Event) *smtptest.Action {
		if event.Phase != "DOT" {
			return nil
		}
		return &smtptest.Action{Reply: reply}
	})
	for !e.noticed("mx") && !e.isOver() {
		time.Sleep(50 * time.Millisecond)
	}
	outage(random)
	remove()
	return effect{time.Now(), 0}
}

// terminate terminates the mailing's workflow.
func (e *experiment) terminate(*rand.Rand) effect {
	if err := e.Temporal.TerminateWorkflow(e.Context(), e.ID(), "", "chaos"); err != nil {
		e.Error(err)
	}
	return effect{time.Now(), 0}
}

// closeLedger closes the ledger of a terminated mailing while workers may still send. At most one
// recipient of each connection is uncertain.
func (e *experiment) closeLedger() workflows.Result {
	e.Helper()
	m, err := mailings.New(e.Pool).Get(e.Context(), e.ID())
	if err != nil {
		e.Fatal(err)
	}
	end, err := ledger.New(e.Pool).Close(e.Context(), m.Key, false, string(workflows.StateTerminated), "chaos")
	if err != nil {
		e.Fatal(err)
	}
	if most := int64(chaosWorkers * e.connections()); end.Counts.Uncertain > most {
		e.Errorf("%d recipients are uncertain, with %d connections", end.Counts.Uncertain, most)
	}
	return workflows.Result{ID: e.ID(), State: workflows.StateTerminated, Recipients: end.Recipients,
		Counts: workflows.Counts(end.Counts)}
}
