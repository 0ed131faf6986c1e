package inputs

import (
	"context"
	"strings"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/mailings"
	"directmailer/test/rig"
)

// The list exists when the mailing is opened. It is deleted when the mailing is about to freeze it.
func TestAListThatIsGoneBeforeItIsPreparedFailsTheMailingByItsName(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(3)
	deletion, err := r.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deletion.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := deletion.Exec(t.Context(), `SELECT FROM lists FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	r.StartWorker()
	run := r.Start(rig.Mailing(50))
	r.Eventually("the mailing waits for the list", func() bool {
		var n int
		err := r.Pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE `+servertest.WaitsForAnother+` AND query LIKE '%FROM lists%'`).Scan(&n)
		return err == nil && n > 0
	})
	if _, err := deletion.Exec(t.Context(), `DELETE FROM list_members`); err != nil {
		t.Fatal(err)
	}
	if _, err := deletion.Exec(t.Context(), `DELETE FROM lists`); err != nil {
		t.Fatal(err)
	}
	if err := deletion.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if failure, _ := r.Failure(run); !strings.Contains(failure.Message(), `no list is named "people"`) {
		t.Errorf("%v", failure)
	}
	m, err := mailings.New(r.Pool).Get(t.Context(), r.ID())
	if err != nil || m.ClosedAt == nil || len(s.Copies()) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
}
