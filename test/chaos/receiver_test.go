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

// script returns what the server does at an event. Nil is its usual answer.
type script func(smtptest.Event) *smtptest.Action

// receiver is the receiving side: an SMTP server that may be stopped and started again at the same
// address, and perhaps a drop directory. Its record outlives the server.
type receiver struct {
	t    *testing.T
	addr string
	dir  string // empty for none

	mu      sync.Mutex
	server  *smtptest.Server
	scripts map[int]script
	added   int
	sender  string // of the round: tells its mail from that of a round before
	got     map[string]*received
	at      []time.Time // of each acceptance
	late    []string    // recipients of mail that came after its round was over
}

// received is what one recipient has received in a round.
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

// stop closes the listener and every connection.
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

// addScript makes the server follow the script until remove is called. Several scripts may be in
// use. No two calls of scripts overlap.
func (r *receiver) addScript(s script) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.added++
	number := r.added
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
	r.add(m)
}

// add adds an accepted message to the record. It needs r.mu.
func (r *receiver) add(m smtptest.Message) {
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

// files returns the paths of the messages in the drop directory.
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

// count returns how many messages have been accepted in the round.
func (r *receiver) count() int {
	files := len(r.files()) // without r.mu, because it takes long
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.at) + files
}

// finish ends the round. It returns what each recipient has received, and when messages were
// accepted, in order.
func (r *receiver) finish() (map[string]*received, []time.Time) {
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
			r.add(m)
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

// lateRecipients returns the recipients who received mail of a round after its end.
func (r *receiver) lateRecipients() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.late)
}
