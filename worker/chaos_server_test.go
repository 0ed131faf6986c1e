package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/smtptest"
)

// receiver is the receiving side of a campaign: an SMTP server that may be stopped and started on the same port, or a drop directory. Its
// record outlives the server.
type receiver struct {
	t    *testing.T
	addr string
	dir  string // a drop directory, instead of the server

	mu      sync.Mutex
	script  func(smtptest.Event) *smtptest.Action
	server  *smtptest.Server
	earlier []smtptest.Message // of servers that were stopped
	sender  string             // of the round
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	r.start()
	r.addr = r.server.Addr()
	return r
}

func (r *receiver) start() {
	server := smtptest.Start(r.t, smtptest.Options{Discard: true, Addr: r.addr, Script: func(e smtptest.Event) *smtptest.Action {
		r.mu.Lock()
		script := r.script
		r.mu.Unlock()
		if script == nil {
			return nil
		}
		return script(e)
	}})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = server
}

// stop cuts every connection and gives up the port.
func (r *receiver) stop() {
	r.mu.Lock()
	server := r.server
	r.mu.Unlock()
	server.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.earlier = append(r.earlier, server.Received()...)
}

// play lets the server do what script says; nil: nothing special.
func (r *receiver) play(script func(smtptest.Event) *smtptest.Action) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = script
}

// begin begins a round, whose messages have this envelope sender.
func (r *receiver) begin(sender string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sender = sender
	if r.dir != "" {
		files, _ := filepath.Glob(filepath.Join(r.dir, "*.eml"))
		for _, f := range files {
			_ = os.Remove(f)
		}
	}
}

func (r *receiver) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dir != "" || r.server.Quiet()
}

// received are the round's messages, in the order of acceptance.
func (r *receiver) received() []smtptest.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []smtptest.Message
	for _, m := range append(r.earlier[:len(r.earlier):len(r.earlier)], r.server.Received()...) {
		if m.From == r.sender {
			out = append(out, m)
		}
	}
	return out
}

func (r *receiver) count() int {
	if r.dir != "" {
		files, _ := filepath.Glob(filepath.Join(r.dir, "*.eml"))
		return len(files)
	}
	return len(r.received())
}

// copies counts messages by recipient, and names those whose copies differ in their Message-ID.
func (r *receiver) copies() (copies map[string]int, changed []string) {
	copies = map[string]int{}
	ids := map[string]string{}
	for _, m := range r.all() {
		copies[m.To]++
		if known := ids[m.To]; known != "" && known != m.ID || m.ID == "" {
			changed = append(changed, m.To)
		}
		ids[m.To] = m.ID
	}
	return copies, changed
}

func (r *receiver) all() []smtptest.Message {
	if r.dir == "" {
		return r.received()
	}
	var out []smtptest.Message
	files, _ := filepath.Glob(filepath.Join(r.dir, "*.eml"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			r.t.Error(err)
			continue
		}
		head, _, _ := strings.Cut(string(data), "\r\n\r\n")
		field := func(name string) string {
			_, after, _ := strings.Cut("\r\n"+head, "\r\n"+name+": ")
			value, _, _ := strings.Cut(after, "\r\n")
			return strings.Trim(value, "<>")
		}
		if !strings.HasSuffix(string(data), "\r\n") {
			r.t.Errorf("%s is not whole", filepath.Base(f))
		}
		out = append(out, smtptest.Message{To: field("X-Receiver"), ID: field("Message-ID")})
	}
	return out
}

// firstAfter is when the first message was accepted after a time.
func (r *receiver) firstAfter(at time.Time) (time.Time, bool) {
	for _, m := range r.received() {
		if m.At.After(at) {
			return m.At, true
		}
	}
	return time.Time{}, false
}
