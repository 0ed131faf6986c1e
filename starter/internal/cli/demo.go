package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/config"
	"directmailer/workflows"
)

func (a *app) demoCommand() *cobra.Command {
	var dir string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a sample mailing to 2,000 recipients, into a drop directory",
		Long: `Runs a private PostgreSQL, a private Temporal and a worker, imports the sample list, and sends the sample newsletter into a
drop directory, one .eml file a message. No mail leaves this machine. It shows the progress, the closed ledger, where the
messages are, and one of them.

The first run may build the Temporal server, which takes some minutes, and says so. A DATABASE_URL, a TEMPORAL_ADDRESS or a
` + "`temporal`" + ` on PATH that is there already is used instead. When it is interrupted everything is stopped and the data is
kept; with --data and that folder, the interrupted mailing goes on.`,
		Example: "  starter demo\n  starter demo --keep        everything stays up until Ctrl-C, with the Web UI\n  starter demo --output json",
		Args:    wants(),
	}
	cmd.Flags().StringVar(&dir, "data", "", "the folder for data and messages (default: a new one among the temporary files)")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave everything running until Ctrl-C")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d := &demo{app: a, given: dir, keep: keep, json: output.json()}
		if d.json { // the answer is the last line; what people read goes to the standard error
			d.app = &app{Streams{In: a.In, Out: a.Err, Err: a.Err}}
		}
		return d.run(cmd.Context(), a.Out)
	}
	return cmd
}

type demo struct {
	*app
	given string // the folder the user named
	keep  bool
	json  bool

	dir      string
	examples string
	stack    *stack
	log      *os.File
	finished bool
}

func (d *demo) run(ctx context.Context, out io.Writer) error {
	var err error
	if d.examples, err = findExamples(); err != nil {
		return err
	}
	if err := d.makeFolder(); err != nil {
		return err
	}
	d.stack, err = d.startStack(ctx, d.dir, false)
	defer d.cleanUp(ctx)
	if err != nil {
		return err
	}
	s, err := openStore(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	id, mail, v, err := d.send(ctx, s)
	if err != nil {
		return err
	}
	d.finished = true
	d.tell(id, mail)
	if d.json {
		if err := writeLine(out, result(id, mail, v)); err != nil {
			return err
		}
	}
	if err := endOf(v); err != nil || !d.keep {
		return err
	}
	d.printAddresses(d.stack)
	<-ctx.Done() // the normal end, from here on
	return nil
}

// makeFolder uses the folder that was named, or a new one. PostgreSQL may run as another user, who has to pass it.
func (d *demo) makeFolder() error {
	if d.given != "" {
		var err error
		d.dir, err = absolute(d.given, "demo")
		return err
	}
	var err error
	if d.dir, err = os.MkdirTemp("", "direct-mailer-demo-"); err != nil {
		return fileFailure(err)
	}
	return os.Chmod(d.dir, 0o755)
}

// send starts the sample mailing, or goes on with one that was interrupted, and follows it to its end.
func (d *demo) send(ctx context.Context, s *store) (id, mail string, v standing, err error) {
	p, err := d.readMailing(filepath.Join(d.examples, "newsletter.yaml"), "demo-"+time.Now().UTC().Format("20060102-150405"))
	if err != nil {
		return "", "", v, err
	}
	p.in.List = "demo-" + p.in.List // in a database of the user's, no list of his is replaced
	goesOn := d.interrupted(ctx, s)
	if id = goesOn; id == "" {
		id = p.in.ID
	}
	mail = filepath.Join(d.dir, "mail", id)
	if err := d.work(ctx, id, mail); err != nil {
		return id, mail, v, err
	}
	if goesOn == "" {
		if err := d.optOut(ctx, s); err != nil {
			return id, mail, v, err
		}
		if _, err := d.start(ctx, s, p); err != nil {
			return id, mail, v, err
		}
	}
	d.say("mailing %s", id)
	v, err = d.follow(ctx, s, id)
	return id, mail, v, err
}

// interrupted returns the ID of a demo's mailing that an earlier run left open in our own database.
func (d *demo) interrupted(ctx context.Context, s *store) string {
	if !d.stack.ours || d.stack.temporal == nil {
		return ""
	}
	if latest, err := d.latest(ctx, s, "", 1); err == nil && len(latest) > 0 && !latest[0].ended() {
		d.say("mailing %s was interrupted and goes on", latest[0].ID)
		return latest[0].ID
	}
	return ""
}

// work starts the worker, on a task queue and with a drop directory for this mailing only: with a database or a Temporal of the user's,
// nobody else may take it up.
func (d *demo) work(ctx context.Context, id, mail string) error {
	if err := useDropDirectory("drop", mail); err != nil {
		return err
	}
	queue := workflows.TaskQueue + "-" + id
	if err := os.Setenv("DM_TASK_QUEUE", queue); err != nil {
		return err
	}
	c, err := settings()
	if err != nil {
		return err
	}
	if d.log, err = os.OpenFile(filepath.Join(d.dir, "worker.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return fileFailure(err)
	}
	d.stack.exports = append(d.stack.exports, "DM_TASK_QUEUE", "DM_DROP_POINTS")
	d.stack.work(ctx, config.Worker{DatabaseURL: c.DatabaseURL, DropPoints: c.DropPoints, TaskQueue: c.TaskQueue,
		MaxBatches: 8, StopTimeout: 10 * time.Second, LogFormat: "text"}, d.log)
	return nil
}

// optOut adds the sample's opt-outs.
func (d *demo) optOut(ctx context.Context, s *store) error {
	f, err := os.Open(filepath.Join(d.examples, "optouts.txt"))
	if err != nil {
		return fileFailure(err)
	}
	defer f.Close()
	keys, _, err := d.scanAddresses("optouts.txt", f)
	if err != nil {
		return err
	}
	_, err = s.lists.AddOptOuts(ctx, keys, "asked")
	return err
}

// follow watches the mailing and shows its ledger. If the worker ends, so does the watching.
func (d *demo) follow(ctx context.Context, s *store, id string) (standing, error) {
	watching, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case err := <-d.stack.worker:
			d.stack.worker <- err
			stop(fmt.Errorf("the worker has ended: %w", errors.Join(err, errors.New("see "+d.log.Name()))))
		case <-watching.Done():
		}
	}()
	var shown display = &lines{w: d.Out}
	if width, ok := terminal(d.Out); ok {
		shown = newBar(d.Out, id, width)
	}
	v, err := follow(watching, s, id, shown)
	shown.end(v)
	if err != nil {
		if cause := context.Cause(watching); ctx.Err() == nil && cause != nil {
			return v, cause
		}
		return v, err
	}
	writeLedger(d.Out, v)
	return v, nil
}

// tell says where the messages are, and shows the first lines of one.
func (d *demo) tell(id, mail string) {
	fmt.Fprintf(d.Out, "\nEach message is a file in %s\n", mail)
	if name, head := sampleMessage(mail); name != "" {
		fmt.Fprintf(d.Out, "%s begins:\n%s", name, head)
	}
	if d.stack.ui != "" && d.keep {
		fmt.Fprintf(d.Out, "\nWeb UI: %s/namespaces/default/workflows/%s\n", d.stack.ui, id)
	} else if d.stack.ui != "" {
		fmt.Fprintf(d.Out, "\nThe Web UI was at %s; `starter demo --keep` leaves it running.\n", d.stack.ui)
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
		b.WriteString("  " + clean(lines.Text()) + "\n")
	}
	return filepath.Base(files[0]), b.String()
}

// demoResult is the demo's answer as JSON.
type demoResult struct {
	Mailing    string `json:"mailing"`
	Recipients int64  `json:"recipients"`
	workflows.Counts
	Closed    bool            `json:"closed"`
	State     workflows.State `json:"state"`
	Directory string          `json:"directory"`
}

func result(id, mail string, v standing) demoResult {
	return demoResult{Mailing: id, Recipients: v.Recipients, Counts: v.Counts, Closed: v.Closed, State: v.State, Directory: mail}
}

// cleanUp stops everything. The messages stay; so does all other data, unless it is in a folder of ours and the mailing has ended.
func (d *demo) cleanUp(ctx context.Context) {
	d.stack.stop(ctx)
	if d.log != nil {
		_ = d.log.Close()
	}
	switch {
	case !d.finished && d.stack.postgres != nil:
		d.say("stopped; nothing is lost: `starter demo --data %s` goes on", d.dir)
	case d.finished && d.given == "":
		for _, name := range []string{"postgres", "temporal", "lock", "worker.log"} {
			_ = os.RemoveAll(filepath.Join(d.dir, name))
		}
	}
}

// findExamples looks for the folder of samples in the checkout that the working directory, or the program, is in.
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
	return "", usage("the demo needs its samples: run it inside a checkout of Direct Mailer, which has a folder examples")
}
