package operation

import (
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

// PgBouncer has its defaults, and nothing is set for it. Two workers together may want more
// sessions than it has.
func TestAMailingIsSentThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			const recipients = 300
			s := smtptest.Start(t, smtptest.Options{})
			url := servertest.PgBouncer(t, servertest.Database(t), mode)
			r := rig.NewOn(t, rig.MX(s), url, servertest.Temporal(t))
			r.ImportList(recipients)
			r.StartWorker()
			r.StartWorker()
			result := r.Result(r.Start(rig.Mailing(20)))
			if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients {
				t.Errorf("%d duplicates; %+v", d, result.Counts)
			}
		})
	}
}
