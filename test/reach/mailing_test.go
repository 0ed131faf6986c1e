package reach

import (
	"fmt"
	"strings"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// BenchmarkMailing sends a whole mailing of messages of 20 KB: list, rendering, spool, SMTP and
// ledger. The SMTP server, PostgreSQL and Temporal are on the same machine.
func BenchmarkMailing(b *testing.B) {
	page := strings.Repeat("<p style=\"margin:0 0 12px;font-family:Georgia,serif\">Dear {{.name}}, the harbour "+
		"is quiet this week.</p>\n", 180)
	for _, connections := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			s := smtptest.Start(b, smtptest.Options{Discard: true})
			r := rig.NewOn(b, fmt.Sprintf("mx=smtp://%s?connections=%d", s.Addr(), connections),
				servertest.OwnPostgres(b).URL("mail"), servertest.Temporal(b))
			r.ImportList(b.N)
			r.StartWorker()
			in := rig.Mailing(500)
			in.Content = workflows.Content{HTML: page, Text: "Dear {{.name}}"}
			b.ResetTimer()
			result := r.Result(r.Start(in))
			b.StopTimer()
			if got := len(s.Received()); result.Counts.Sent != int64(b.N) || got != b.N {
				b.Fatalf("%d received; %+v", got, result)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
