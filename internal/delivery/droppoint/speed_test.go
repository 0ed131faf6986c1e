package droppoint_test

import (
	"testing"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/dev/smtptest"
)

// The server answers one message, and then no more until the test lets it.
func TestADropPointIsSlowAsSoonAsItDoesNotAnswer(t *testing.T) {
	t.Parallel()
	stall := smtptest.NewStall("DOT", 1)
	s := smtptest.Start(t, smtptest.Options{Script: stall.Script})
	d := dropPoint(t, "smtp://"+s.Addr()+"?tls=none&connections=2")
	if d.Speed() != droppoint.Unknown {
		t.Error("its speed is known before it has answered")
	}
	conn := acquire(t, d)
	t.Cleanup(stall.ReleaseAll) // before the others
	if err := deliver(t, conn, message(1), nil); err != nil || d.Speed() == droppoint.Unknown {
		t.Fatalf("%v, its speed is %d after an answer", err, d.Speed())
	}
	done := make(chan error, 1)
	go func() { done <- deliver(t, conn, message(2), nil) }()
	await(t, "it is slow while it does not answer", func() bool { return d.Speed() == droppoint.Slow })
	stall.ReleaseAll()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d.Speed() != droppoint.Slow {
		t.Error("it is not slow after an answer that took more than a second")
	}
	await(t, "it is quick again after quick answers", func() bool {
		return deliver(t, conn, message(3), nil) != nil || d.Speed() == droppoint.Quick
	})
	conn.Release()
}
