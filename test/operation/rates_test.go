package operation

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// aheadOf returns by how many messages the rate limit was exceeded at most, if the limit allowed
// the first message at began. A limit never allows a message too early, so the result does not
// depend on the speed of the machine.
func aheadOf(received []smtptest.Message, began time.Time, perSecond float64) float64 {
	worst := math.Inf(-1)
	for i, m := range received {
		worst = max(worst, float64(i+1)-m.At.Sub(began).Seconds()*perSecond)
	}
	return worst
}

func TestARateLimitHoldsOverAllWorkersAndAChangeTakesEffectInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	// Without the limit, so many recipients get their mail long before it would allow half of it.
	const recipients, limit = 900, 10
	var connected times
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" { // before the worker asks the rate limit
			connected.add(time.Now())
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	r.StartWorker()
	r.StartWorker()
	in := rig.Mailing(recipients / 3)
	in.Rates.Mailing = workflows.Rate(fmt.Sprintf("%d/s", limit))
	run := r.Start(in)
	r.Eventually("it has sent for a while", func() bool { return len(s.Received()) > 4*limit })
	began := connected.first()
	if ahead := aheadOf(s.Received(), began, limit); ahead > 3 {
		t.Errorf("%.1f messages more arrived than the limit of %d a second allows", ahead, limit)
	}
	before, lifted := len(s.Received()), time.Now()
	r.MustUpdate(workflows.RateUpdate, workflows.RateChange{Rate: "none"})
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
	if ahead := aheadOf(s.Received()[before:], lifted, limit); ahead < limit {
		t.Errorf("the limit was kept after it was lifted: at most %.1f messages more arrived than it allows", ahead)
	}
}

// Messages to one domain wait for that domain's limit. Messages to other domains do not.
func TestALimitOfADomainHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(200)
	if _, err := r.Pool.Exec(t.Context(), `UPDATE list_members
		SET address = replace(address, 'example.org', 'example.net'),
			address_key = replace(address_key, 'example.org', 'example.net')
		WHERE position % 4 = 0`); err != nil {
		t.Fatal(err)
	}
	r.StartWorker()
	in := rig.Mailing(200)
	in.Rates.Domains = map[string]workflows.Rate{"example.net": "1/min"}
	r.Start(in)
	slow := func() (n int) {
		for a := range s.Copies() {
			if strings.HasSuffix(a, "@example.net") {
				n++
			}
		}
		return n
	}
	r.Eventually("everybody else has got it", func() bool { return len(s.Copies())-slow() == 150 })
	if n := slow(); n > 10 {
		t.Errorf("%d of 50 messages to the limited domain are out already", n)
	}
	r.MustUpdate(workflows.RateUpdate, workflows.RateChange{Domain: "example.net", Rate: "none"})
	result := r.Result(r.Temporal.GetWorkflow(t.Context(), r.ID(), ""))
	if d := r.Judge(s.Copies(), 200); d > 0 || result.Counts.Sent != 200 {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}
