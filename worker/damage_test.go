package main_test

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"directmailer/internal/delivery/spool"
	"directmailer/internal/dev/smtptest"
	"directmailer/workflows"
)

// damage changes the spooled blobs of all batches of the plant's mailing.
func damage(p *plant, how func([]byte) []byte) (batches int) {
	p.Helper()
	rows, err := p.pool.Query(p.Context(), `SELECT batch, messages FROM spool`)
	if err != nil {
		p.Fatal(err)
	}
	blobs := map[int][]byte{}
	for rows.Next() {
		var n int
		var blob []byte
		if err := rows.Scan(&n, &blob); err != nil {
			p.Fatal(err)
		}
		blobs[n] = blob
	}
	if err := rows.Err(); err != nil {
		p.Fatal(err)
	}
	for n, blob := range blobs {
		if _, err := p.pool.Exec(p.Context(), `UPDATE spool SET messages = $2 WHERE batch = $1`, n, how(blob)); err != nil {
			p.Fatal(err)
		}
	}
	return len(blobs)
}

// flip damages a blob in its middle.
func flip(blob []byte) []byte {
	blob[len(blob)/2] ^= 0xff
	return blob
}

// half is a blob that is whole, and lacks every second message.
func half(p *plant, blob []byte) []byte {
	p.Helper()
	reader, err := spool.NewReader()
	if err != nil {
		p.Fatal(err)
	}
	defer reader.Close()
	encoder, err := spool.NewEncoder()
	if err != nil {
		p.Fatal(err)
	}
	if err := reader.Reset(blob); err != nil {
		p.Fatal(err)
	}
	for i := 0; ; i++ {
		var e spool.Entry
		err := reader.Next(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.Fatal(err)
		}
		if i%2 == 0 {
			if err := encoder.Add(&e); err != nil {
				p.Fatal(err)
			}
		}
	}
	out, err := encoder.Finish()
	if err != nil {
		p.Fatal(err)
	}
	return out
}

// A spool that was damaged on its way, or that lacks messages, is rendered again: nobody is left
// out, and nobody gets two messages.
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
			p := newPlant(t, mx(s))
			const recipients, batches = 100, 5
			p.importList(recipients)
			p.startWorker()
			run := p.start(mailing(recipients / batches))
			p.doing("everything is rendered while the server is away", func(s workflows.Status) bool {
				return s.State == workflows.StateSuspended && s.Rendered == batches
			})
			how := flip
			if name == "half" {
				how = func(blob []byte) []byte { return half(p, blob) }
			}
			if n := damage(p, how); n != batches {
				t.Fatalf("%d batches were in the spool", n)
			}
			mu.Lock()
			open = true
			mu.Unlock()
			p.steer(workflows.ResumeUpdate)
			if r := p.result(run); r.Counts.Sent != recipients {
				t.Errorf("result %+v", r)
			}
			if duplicates := p.judge(s.Copies(), recipients); duplicates > 0 {
				t.Errorf("%d duplicates", duplicates)
			}
		})
	}
}

// The messages of deferred recipients wait in the spool as well.
func TestDeferredRecipientsWhoseSpoolIsDamagedGetTheirMail(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	open := false
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		mu.Lock()
		defer mu.Unlock()
		if e.Phase == "RCPT" && !open {
			return &smtptest.Action{Reply: "450 4.2.0 greylisted"}
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	const recipients = 60
	p.importList(recipients)
	p.startWorker()
	in := mailing(20)
	in.Deferral = workflows.Deferral{First: workflows.Duration(3 * time.Second), Most: workflows.Duration(3 * time.Second), For: workflows.Duration(time.Hour)}
	run := p.start(in)
	p.doing("all are deferred", func(s workflows.Status) bool { return s.Deferred == recipients })
	if damage(p, flip) == 0 {
		t.Fatal("no message of a deferred recipient is in the spool")
	}
	mu.Lock()
	open = true
	mu.Unlock()
	if r := p.result(run); r.Counts.Sent != recipients {
		t.Errorf("result %+v", r)
	}
	if duplicates := p.judge(s.Copies(), recipients); duplicates > 0 {
		t.Errorf("%d duplicates", duplicates)
	}
}
