package crash

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/delivery/spool"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// damage changes the spooled messages of all batches of the rig's mailing, and returns the number
// of batches.
func damage(r *rig.Rig, how func([]byte) []byte) (batches int) {
	r.Helper()
	rows, err := r.Pool.Query(r.Context(), `SELECT batch, messages FROM spool`)
	if err != nil {
		r.Fatal(err)
	}
	blobs := map[int][]byte{}
	for rows.Next() {
		var n int
		var blob []byte
		if err := rows.Scan(&n, &blob); err != nil {
			r.Fatal(err)
		}
		blobs[n] = blob
	}
	if err := rows.Err(); err != nil {
		r.Fatal(err)
	}
	for n, blob := range blobs {
		_, err := r.Pool.Exec(r.Context(), `UPDATE spool SET messages = $2 WHERE batch = $1`, n, how(blob))
		if err != nil {
			r.Fatal(err)
		}
	}
	return len(blobs)
}

// flip changes an octet in the middle of a blob.
func flip(blob []byte) []byte {
	blob[len(blob)/2] ^= 0xff
	return blob
}

// half returns a valid blob that lacks every second message.
func half(r *rig.Rig, blob []byte) []byte {
	r.Helper()
	reader, err := spool.NewReader()
	if err != nil {
		r.Fatal(err)
	}
	defer reader.Close()
	encoder, err := spool.NewEncoder()
	if err != nil {
		r.Fatal(err)
	}
	if err := reader.Reset(blob); err != nil {
		r.Fatal(err)
	}
	for i := 0; ; i++ {
		var e spool.Entry
		err := reader.Next(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.Fatal(err)
		}
		if i%2 == 0 {
			if err := encoder.Add(&e); err != nil {
				r.Fatal(err)
			}
		}
	}
	out, err := encoder.Finish()
	if err != nil {
		r.Fatal(err)
	}
	return out
}

// A batch whose spool is damaged or lacks messages is rendered again. No recipient is left out, and
// none gets two messages.
func TestADamagedSpoolIsRenderedAgain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"flipped", "half"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			open := false
			s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
				mu.Lock()
				defer mu.Unlock()
				if e.Phase == "connect" && !open {
					return &smtptest.Action{Reply: "421 4.3.2 come back later"}
				}
				return nil
			}})
			r := rig.New(t, rig.MX(s))
			const recipients, batches = 100, 5
			r.ImportList(recipients)
			r.StartWorker()
			run := r.Start(rig.Mailing(recipients / batches))
			r.AwaitStatus("everything is rendered while the server is away", func(s workflows.Status) bool {
				return s.State == workflows.StateSuspended && s.Rendered == batches
			})
			how := flip
			if name == "half" {
				how = func(blob []byte) []byte { return half(r, blob) }
			}
			if n := damage(r, how); n != batches {
				t.Fatalf("%d batches were in the spool", n)
			}
			mu.Lock()
			open = true
			mu.Unlock()
			r.Resume()
			if result := r.Result(run); result.Counts.Sent != recipients {
				t.Errorf("result %+v", result)
			}
			if duplicates := r.Judge(s.Copies(), recipients); duplicates > 0 {
				t.Errorf("%d duplicates", duplicates)
			}
		})
	}
}

// The messages of deferred recipients wait in the spool as well. The mailing is paused while they
// are damaged, so that no worker has one in memory.
func TestDeferredRecipientsWhoseSpoolIsDamagedGetTheirMail(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	open, refused := false, map[string]bool{}
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		mu.Lock()
		defer mu.Unlock()
		if e.Phase == "RCPT" && !open {
			refused[e.To] = true
			return &smtptest.Action{Reply: "450 4.2.0 greylisted"}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	const recipients = 60
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(20)
	pause := workflows.Duration(3 * time.Second)
	in.Deferral = workflows.Deferral{First: pause, Most: pause, For: workflows.Duration(time.Hour)}
	run := r.Start(in)
	r.AwaitStatus("all have been refused, and some are deferred", func(s workflows.Status) bool {
		mu.Lock()
		defer mu.Unlock()
		return len(refused) == recipients && s.Deferred > 0
	})
	r.MustUpdate(workflows.PauseUpdate)
	r.AwaitStatus("nothing is in flight any more", func(s workflows.Status) bool {
		return s.State == workflows.StatePaused && strings.Contains(s.Doing, "waits to be resumed")
	})
	if damage(r, flip) == 0 {
		t.Fatal("no message of a deferred recipient is in the spool")
	}
	mu.Lock()
	open = true
	mu.Unlock()
	r.MustUpdate(workflows.ResumeUpdate)
	if result := r.Result(run); result.Counts.Sent != recipients {
		t.Errorf("result %+v", result)
	}
	if duplicates := r.Judge(s.Copies(), recipients); duplicates > 0 {
		t.Errorf("%d duplicates", duplicates)
	}
}
