//go:build unix

package dev

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"directmailer/internal/config"
	"directmailer/internal/feedback"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

// Commands is what the demo does with the commands of the starter.
type Commands interface {
	// Interrupted returns the ID of the newest mailing if it has not ended, else "".
	Interrupted(ctx context.Context) string
	// Send starts the mailing of a file under the ID. It puts prefix before the name of the list,
	// so that no list of the user is replaced.
	Send(ctx context.Context, file, id, prefix string) error
	// OptOut adds the addresses of a file to the opt-outs.
	OptOut(ctx context.Context, file string) error
	// Follow shows a mailing until it ends.
	Follow(ctx context.Context, id string) (status.Status, error)
}

// Demo shows a sample mailing to 2,000 recipients, from its start to its report.
type Demo struct {
	Commands Commands
	// Dir is the folder for data and messages. Empty: a new one, which is removed at the end except
	// for the messages.
	Dir string
	// Keep leaves everything running until the context ends.
	Keep bool
	// Out is for what people read. Say tells what happens. Err takes the output of an installation.
	Out io.Writer
	Say func(format string, args ...any)
	Err io.Writer

	dir      string
	examples string
	stack    *Stack
	log      *os.File
	finished bool
}

// Result is the demo's answer.
type Result struct {
	Mailing    string `json:"mailing"`
	Recipients int64  `json:"recipients"`
	workflows.Counts
	Closed    bool            `json:"closed"`
	State     workflows.State `json:"state"`
	Directory string          `json:"directory"`
}

// Run runs the demo. It calls done with the end of the mailing, which may be other than completed.
func (d *Demo) Run(ctx context.Context, done func(Result, status.Status) error) error {
	var err error
	if d.examples, err = findExamples(); err != nil {
		return err
	}
	if err := d.makeFolder(); err != nil {
		return err
	}
	d.stack, err = Start(ctx, Options{Dir: d.dir, Say: d.Say, Err: d.Err})
	defer d.cleanUp(ctx)
	if err != nil {
		return err
	}
	id, mail, s, err := d.send(ctx)
	if err != nil {
		return err
	}
	d.finished = true
	d.tell(id, mail)
	result := Result{
		Mailing:    id,
		Recipients: s.Recipients,
		Counts:     s.Counts,
		Closed:     s.Closed,
		State:      s.State,
		Directory:  mail,
	}
	if err := done(result, s); err != nil || !d.Keep {
		return err
	}
	d.stack.PrintAddresses(d.Out)
	<-ctx.Done() // the normal end, from here on
	return nil
}

// makeFolder uses the folder that was named, or a new one. PostgreSQL may run as another user, who
// has to enter it.
func (d *Demo) makeFolder() error {
	var err error
	if d.Dir != "" {
		d.dir, err = Folder(d.Dir, "demo")
		return err
	}
	if d.dir, err = os.MkdirTemp("", "direct-mailer-demo-"); err != nil {
		return fileError(err)
	}
	return os.Chmod(d.dir, 0o755)
}

// send starts the sample mailing, or continues one that was interrupted, and follows it to its end.
func (d *Demo) send(ctx context.Context) (id, mail string, s status.Status, err error) {
	interrupted := ""
	if d.stack.postgres != nil && d.stack.temporal != nil { // else the newest mailing may be the user's
		interrupted = d.Commands.Interrupted(ctx)
	}
	if id = interrupted; id == "" {
		id = "demo-" + time.Now().UTC().Format("20060102-150405")
	}
	mail = filepath.Join(d.dir, "mail", id)
	if err := d.work(ctx, id, mail); err != nil {
		return id, mail, s, err
	}
	if interrupted != "" {
		d.Say("mailing %s was interrupted and goes on", id)
	} else if err := d.start(ctx, id); err != nil {
		return id, mail, s, err
	}
	d.Say("mailing %s", id)
	s, err = d.follow(ctx, id)
	return id, mail, s, err
}

func (d *Demo) start(ctx context.Context, id string) error {
	if err := d.Commands.OptOut(ctx, filepath.Join(d.examples, "optouts.txt")); err != nil {
		return err
	}
	return d.Commands.Send(ctx, filepath.Join(d.examples, "newsletter.yaml"), id, "demo-")
}

// work starts the worker, on a task queue and with a drop directory for this mailing only. With a
// database or a Temporal of the user's, no other worker may take it up.
func (d *Demo) work(ctx context.Context, id, mail string) error {
	if err := d.stack.UseDropDirectory(mail); err != nil {
		return err
	}
	if err := d.stack.UsePublicPages(anyPort); err != nil {
		return err
	}
	if err := d.stack.export("DM_TASK_QUEUE", workflows.TaskQueue+"-"+id); err != nil {
		return err
	}
	if err := d.sign(); err != nil {
		return err
	}
	c, err := config.LoadStarter()
	if err != nil {
		return exit.With(exit.BadInput, err)
	}
	d.log, err = os.OpenFile(filepath.Join(d.dir, "worker.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fileError(err)
	}
	d.stack.Work(ctx, config.Worker{DatabaseURL: c.DatabaseURL, DropPoints: c.DropPoints, DKIM: c.DKIM,
		TokenKeys: c.TokenKeys, PublicURL: c.PublicURL, PublicAddress: d.stack.publicAddress,
		TaskQueue: c.TaskQueue, MaxBatches: 8, StopTimeout: 10 * time.Second, LogFormat: "text"}, d.log)
	return nil
}

// follow shows the mailing until it ends, or until the worker does.
func (d *Demo) follow(ctx context.Context, id string) (status.Status, error) {
	following, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		if err := d.stack.Wait(following); err != nil {
			stop(errors.Join(err, errors.New("see "+d.log.Name())))
		}
	}()
	s, err := d.Commands.Follow(following, id)
	if cause := context.Cause(following); err != nil && ctx.Err() == nil && cause != nil {
		return s, cause
	}
	if err == nil {
		s.RenderLedger(d.Out)
	}
	return s, err
}

// tell says where the messages are, and shows the header of one.
func (d *Demo) tell(id, mail string) {
	fmt.Fprintf(d.Out, "\nEach message is a file in %s\n", mail)
	name, header := sampleMessage(mail)
	if name != "" {
		fmt.Fprintf(d.Out, "%s begins:\n%s", name, header)
		fmt.Fprintf(d.Out, "\nIts DKIM-Signature is by a key of the demo. Look at the whole message:\n  %s\n",
			filepath.Join(mail, name))
	}
	if !d.Keep {
		fmt.Fprint(d.Out, "\nThe page of List-Unsubscribe ends with the demo. "+
			"`starter demo --keep` leaves it and the servers running.\n")
		return
	}
	// A mailing that was interrupted has links to the port of before.
	page := regexp.MustCompile(regexp.QuoteMeta("http://"+string(d.stack.publicAddress)+feedback.Path) + `[\w-]+`)
	if link := page.FindString(header); link != "" {
		fmt.Fprintf(d.Out, "\nIts unsubscribe page: %s\n", link)
	}
	if ui := d.stack.UI(); ui != "" {
		fmt.Fprintf(d.Out, "\nWeb UI: %s/namespaces/default/workflows/%s\n", ui, id)
	}
}

// sampleMessage returns the first message of a drop directory: its name and its header.
func sampleMessage(dir string) (name, header string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil || len(files) == 0 {
		return "", ""
	}
	f, err := os.Open(files[0])
	if err != nil {
		return "", ""
	}
	defer f.Close()
	var b strings.Builder
	for lines := bufio.NewScanner(f); lines.Scan() && lines.Text() != ""; {
		b.WriteString("  " + output.Clean(lines.Text()) + "\n")
	}
	return filepath.Base(files[0]), b.String()
}

// cleanUp stops everything. The messages stay. All other data stays too, unless the folder is a
// temporary one and the mailing has ended.
func (d *Demo) cleanUp(ctx context.Context) {
	d.stack.Stop(ctx)
	if d.log != nil {
		_ = d.log.Close()
	}
	switch {
	case !d.finished && d.stack.postgres != nil:
		d.Say("stopped; nothing is lost: `starter demo --data %s` goes on", d.dir)
	case d.finished && d.Dir == "":
		for _, name := range []string{"postgres", "temporal", "lock", "worker.log", tokenKeys, demoKey} {
			_ = os.RemoveAll(filepath.Join(d.dir, name))
		}
	}
}

// findExamples looks for the folder of samples, in the checkout that the working directory or the
// program is in.
func findExamples() (string, error) {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
			if err == nil && strings.HasPrefix(string(data), "module directmailer\n") {
				return filepath.Join(dir, "examples"), nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", exit.Usagef(
		"the demo needs its samples: run it inside a checkout of Direct Mailer, which has a folder examples",
	)
}
