package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

// script says what a server does; nil: nothing special.
type script func(smtptest.Event) *smtptest.Action

// receiver is the receiving side of a campaign: an SMTP server that may be stopped and started on the same port, and perhaps a drop
// directory. Its record outlives the server.
type receiver struct {
	t    *testing.T
	addr string
	dir  string // empty for none

	mu      sync.Mutex
	server  *smtptest.Server
	scripts map[int]script
	played  int
	sender  string // of the round: by it, mail of a round that was over is told from the next one's
	got     map[string]*received
	at      []time.Time // of each acceptance
	late    []string    // recipients of mail that came after its round was over
}

// received is what one recipient has got in a round.
type received struct {
	copies  int
	id      string
	changed bool // not all copies had the same Message-ID
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, addr: rig.FreeAddress(t), scripts: map[int]script{}, got: map[string]*received{}}
	r.start()
	return r
}

func (r *receiver) start() {
	server := smtptest.Start(r.t, smtptest.Options{Discard: true, Addr: r.addr, Accepted: r.accept, Script: r.act})
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
}

func (r *receiver) act(e smtptest.Event) *smtptest.Action {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.scripts {
		if a := s(e); a != nil {
			return a
		}
	}
	return nil
}

// play lets the server do what the script says, until end is called. Several may be played at the same time. No script is called twice at
// the same time.
func (r *receiver) play(s script) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.played++
	number := r.played
	r.scripts[number] = s
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.scripts, number)
	}
}

func (r *receiver) accept(m smtptest.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.From != r.sender {
		r.late = append(r.late, m.To)
		return
	}
	m.ID = strings.Trim(m.ID, "<>")
	r.enter(m)
}

// enter writes an accepted message down. r.mu is held.
func (r *receiver) enter(m smtptest.Message) {
	r.at = append(r.at, m.At)
	g := r.got[m.To]
	if g == nil {
		g = &received{id: m.ID}
		r.got[m.To] = g
	}
	g.copies++
	g.changed = g.changed || g.id != m.ID || m.ID == ""
}

// begin begins a round, whose messages have this envelope sender.
func (r *receiver) begin(sender string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sender, r.got, r.at = sender, map[string]*received{}, nil
	for _, f := range r.files() {
		if err := os.Remove(f); err != nil {
			r.t.Error(err)
		}
	}
}

func (r *receiver) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server.Quiet()
}

// files are the messages in the drop directory.
func (r *receiver) files() []string {
	if r.dir == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(r.dir, "*.eml"))
	if err != nil {
		r.t.Error(err)
	}
	return files
}

// count is how many messages have been accepted in the round.
func (r *receiver) count() int {
	files := len(r.files()) // takes its time, for which nobody else waits
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.at) + files
}

// record ends the round: what each recipient has got, and when messages were accepted, in order.
func (r *receiver) record() (map[string]*received, []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files() {
		m, from, err := readFile(f)
		switch {
		case err != nil:
			r.t.Errorf("%s: %v", filepath.Base(f), err)
		case from != r.sender:
			r.late = append(r.late, m.To)
		default:
			r.enter(m)
		}
	}
	r.sender = ""
	slices.SortFunc(r.at, time.Time.Compare)
	return r.got, r.at
}

// readFile reads a message of the drop directory.
func readFile(path string) (m smtptest.Message, from string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return m, "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return m, "", err
	}
	head, body, _ := strings.Cut(string(data), "\r\n\r\n")
	field := func(name string) string {
		_, after, _ := strings.Cut("\r\n"+head, "\r\n"+name+": ")
		value, _, _ := strings.Cut(after, "\r\n")
		return strings.Trim(value, "<>")
	}
	m = smtptest.Message{To: field("X-Receiver"), ID: field("Message-ID"), At: info.ModTime()}
	if !strings.HasSuffix(body, "--\r\n") { // the end of a multipart message
		err = errors.New("the message is not whole")
	}
	return m, field("X-Sender"), err
}

// tooLate names those who got mail of a round that was over.
func (r *receiver) tooLate() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.late)
}
