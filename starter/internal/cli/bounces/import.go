package bounces

import (
	"bufio"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/events"
	"directmailer/internal/feedback/intake"
	"directmailer/internal/feedback/report"
	"directmailer/internal/feedback/token"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/mailfiles"
	"directmailer/starter/internal/output"
)

func (a *app) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE... | -",
		Short: "Import bounces and complaints from files",
		Long: `Reads messages from files, finds out what each reports and about whom, and writes that down
beside the ledger, as the workers do with what comes in. A hard bounce keeps the address from
later mailings, a complaint is an opt-out. A message that is imported twice counts once.

A file has one message (.eml) or many (mbox). A folder is a Maildir, or has a message in each file.
"-" is the standard input.

With --output json, the command prints one line for each message, while it reads.`,
		Example: `  starter bounces import bounces.mbox

  # see what the messages are, and store nothing
  starter bounces import --dry-run bounces.mbox

  # a line for each message of a Maildir
  starter bounces import ~/Maildir --output json`,
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return exit.Usagef("the file is missing: %s", command.UsageLine(cmd))
		}
		return nil
	}
	format := output.AddFormat(cmd, "table", "json")
	dryRun := false
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what the messages are, and store nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.importFiles(cmd.Context(), args, format, dryRun)
	}
	return cmd
}

// line is what is printed of a message. It holds no address.
type line struct {
	File           string    `json:"file"`
	Message        int       `json:"message"` // its place in the file
	Class          string    `json:"class"`
	Enhanced       string    `json:"enhanced,omitempty"`
	Reply          int       `json:"reply,omitempty"`
	Feedback       string    `json:"feedback,omitempty"`
	Diagnostic     string    `json:"diagnostic,omitempty"`
	RecipientFound bool      `json:"recipient_found"`
	MailingKey     int64     `json:"mailing_key,omitempty"`
	Recipient      int       `json:"recipient,omitempty"`
	Recipients     []finding `json:"recipients,omitempty"` // what is said of each, if there are several
}

type finding struct {
	Class    string `json:"class"`
	Enhanced string `json:"enhanced,omitempty"`
}

// classOf returns the class of a message. Mail to an unsubscribe address is a person's request,
// whatever its text is, unless a program has answered.
func classOf(r *report.Report) report.Class {
	isRequest := func(n feedback.Named) bool { return n.Kind == token.Unsubscribe }
	if !r.Answer && slices.ContainsFunc(r.Addressed, isRequest) {
		return report.Complaint
	}
	return r.About("").Class
}

func lineOf(m mailfiles.Message, r *report.Report) line {
	f := r.About("")
	l := line{
		File: m.File, Message: m.Number, Class: classOf(r).String(), Enhanced: f.Enhanced, Reply: f.Reply,
		Feedback: r.Feedback, Diagnostic: f.Diagnostic, RecipientFound: len(r.Tokens) > 0,
	}
	if l.RecipientFound {
		l.MailingKey, l.Recipient = r.Tokens[0].Mailing, r.Tokens[0].Number
	}
	if len(r.Findings) > 1 {
		for _, f := range r.Findings {
			l.Recipients = append(l.Recipients, finding{f.Class.String(), f.Enhanced})
		}
	}
	return l
}

// taker returns a function that reads a message, and writes down what it says.
func taker(ctx context.Context, s *command.Store, keys token.Keys) func(mailfiles.Message) (*report.Report, error) {
	in := intake.New(s.Pool, keys)
	return func(m mailfiles.Message) (*report.Report, error) {
		taken, err := in.Take(ctx, intake.Message{Data: m.Data, Size: m.Size, Origin: events.Import}, nil)
		return taken.Report, err
	}
}

// tally counts the messages of a class.
type tally struct {
	class           report.Class
	messages, found int64
}

var tallies = output.Table[tally]{
	{Title: "class", Cell: func(t tally) string { return t.class.String() }},
	{Title: "messages", Right: true, Cell: func(t tally) string { return output.Thousands(t.messages) }},
	{Title: "recipient found", Right: true, Cell: func(t tally) string { return output.Thousands(t.found) }},
}

func (a *app) importFiles(ctx context.Context, names []string, format *output.Format, dryRun bool) error {
	settings, err := command.Settings()
	if err != nil {
		return err
	}
	keys := token.Keys(settings.TokenKeys)
	take := func(m mailfiles.Message) (*report.Report, error) { return report.Reader{Keys: keys}.Read(m.Data), nil }
	switch {
	case len(keys) == 0 && !dryRun:
		return exit.Usagef("DM_TOKEN_KEYS is not set, so no recipient can be found: set it as the workers have it, " +
			"or see what the messages are with --dry-run")
	case len(keys) == 0:
		a.Say("starter: warning: DM_TOKEN_KEYS is not set: no recipient can be found")
	case !dryRun:
		s, err := command.OpenStore(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		take = taker(ctx, s, keys)
	}
	files, err := mailfiles.Open(names, a.In, report.MaxRead)
	if err != nil {
		return command.FileFailure(err)
	}
	out := bufio.NewWriter(a.Out)
	counts := map[report.Class]*tally{}
	var unknown []string
	stop := a.showProgress(ctx, files)
	err = files.Each(ctx, func(m mailfiles.Message) error {
		r, err := take(m)
		if err != nil {
			return err
		}
		class := classOf(r)
		if counts[class] == nil {
			counts[class] = &tally{class: class}
		}
		counts[class].messages++
		if len(r.Tokens) > 0 {
			counts[class].found++
		}
		if class == report.Unknown {
			unknown = append(unknown, placeOf(m))
		}
		if format.JSON() {
			return output.WriteLine(out, lineOf(m, r))
		}
		return nil
	})
	stop()
	if err := command.FirstError(command.FileFailure(err), out.Flush); err != nil {
		return err
	}
	if len(counts) == 0 {
		return exit.Usagef("there is no message in %s", output.Typed(strings.Join(names, ", ")))
	}
	a.sayUnknown(unknown)
	if format.JSON() {
		return nil
	}
	var rows []tally
	for _, class := range report.Classes {
		if t := counts[class]; t != nil {
			rows = append(rows, *t)
		}
	}
	tallies.Render(a.Out, rows)
	return nil
}
