package start

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/content"
	"directmailer/internal/content/page"
	"directmailer/internal/content/render"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

func (a *app) previewCommand() *cobra.Command {
	var file, recipient, dir string
	var open, all bool
	cmd := &cobra.Command{
		Use:   "preview -f FILE",
		Short: "Preview the message that a recipient would get, or render everybody's",
		Long: `Renders the message for one recipient, exactly as it would be sent. The command writes it as
.eml to the standard output or into a folder, or shows its HTML, text and headers in a browser.
It stores nothing and sends nothing.

It fetches a page from this machine. DM_PAGE_HOSTS must allow a host that has no public address.

The recipient comes from the list file that the mailing names, else from the stored list, from
the mailing that it continues, or from its query. For a query DM_SOURCES must have the source.
Without --recipient it is the first one. Only Date, Message-ID and Feedback-ID differ from the
message that is sent, and the unsubscribe link, which does nothing in a preview. The worker's DKIM
signatures are missing.

With --all the command renders the messages of everybody, and shows none. It lists who would fail
and why, grouped by reason, with how many there are and the first of their lines or rows. The
exit code is 8 if anybody would fail. It fetches no pages, checks only their URLs, and does not
leave out who has opted out.`,
		Example: `  starter preview -f newsletter.yaml --open

  # one recipient's message, where nobody else can see the address
  printf '%s' someone@example.com | starter preview -f newsletter.yaml --recipient -

  # who would get no message, and why
  starter preview -f newsletter.yaml --all`,
		Args: command.Needs(),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "mailing file (required)")
	cmd.Flags().
		StringVar(&recipient, "recipient", "", `address of the recipient ("-": read it from the standard input)`)
	cmd.Flags().StringVar(&dir, "output-dir", "", "folder to write the message into (default: the standard output)")
	cmd.Flags().BoolVar(&open, "open", false, "show the message in a browser")
	cmd.Flags().BoolVar(&all, "all", false, "render everybody's message, and list who would fail and why")
	format := output.AddFormat(cmd, "table", "json")
	cmd.Flag("output").Usage = "with --all: format of the answer: table or json"
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	_ = cmd.MarkFlagDirname("output-dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if all {
			for _, one := range []string{"recipient", "output-dir", "open"} {
				if cmd.Flags().Changed(one) {
					return exit.Usagef("give either --all or --%s: --all shows no message", one)
				}
			}
			return a.previewAll(cmd.Context(), file, format)
		}
		if cmd.Flags().Changed("output") {
			return exit.Usagef("--output needs --all: the preview of one message is the message itself")
		}
		name, message, err := a.preview(cmd.Context(), file, recipient)
		switch {
		case err != nil:
			return err
		case open:
			return a.openPreview(dir, name, message)
		case dir == "":
			_, err := a.Out.Write(message)
			return err
		}
		return a.writePreview(dir, name+".eml", message)
	}
	return cmd
}

// preview renders one recipient's message, and returns a name for it.
func (a *app) preview(ctx context.Context, file, recipient string) (name string, message []byte, err error) {
	p, err := a.readMailing(ctx, file, "")
	if err != nil {
		return "", nil, err
	}
	a.warnOfMergeTags(p)
	if err := p.undecided(); err != nil { // one message to nobody does no harm
		a.Say("warning: %s", output.OneLine(err.Error()))
		p.list.Decide(csvlist.IgnoreStatus)
	}
	to, err := a.recipient(ctx, p, recipient)
	if err != nil {
		return "", nil, err
	}
	if to.Page, err = fetchFor(ctx, p, to); err != nil {
		return "", nil, err
	}
	origin, err := originOf(ctx, p)
	if err != nil {
		return "", nil, err
	}
	message, err = renderFor(ctx, p, origin, to)
	return fmt.Sprintf("%s.%08d", p.in.ID, to.Number), message, err
}

// openPreview shows the message in a browser, from a file in the folder or in a new temporary one.
// The file stays, because the browser reads it later.
func (a *app) openPreview(dir, name string, message []byte) error {
	page, err := previewPage(message)
	if err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "direct-mailer-preview-"); err != nil {
			return command.FileFailure(err)
		}
	}
	if err := a.writePreview(dir, name+".html", page); err != nil {
		return err
	}
	path, err := filepath.Abs(filepath.Join(dir, name+".html"))
	if err != nil {
		return err
	}
	return openBrowser(path)
}

// fetchFor fetches the recipient's page, if the mailing has pages.
func fetchFor(ctx context.Context, p plan, to render.Recipient) (render.Page, error) {
	locations, problems := content.Pages(p.in)
	if len(problems) > 0 {
		return render.Page{}, exit.Errorf(exit.BadInput, "%s: %w", p.name, &problems[0])
	}
	if locations == nil {
		return render.Page{}, nil
	}
	c, err := command.Settings()
	if err != nil {
		return render.Page{}, err
	}
	fetcher := page.NewFetcher(c.PageHosts)
	defer fetcher.Close()
	u, err := locations.NewLocator(ctx).Locate(to)
	var fetched render.Page
	if err == nil {
		fetched, err = fetcher.Fetch(ctx, locations, u)
	}
	var problem *render.Problem
	var failure *page.Failure
	var away *page.Unavailable
	switch {
	case errors.As(err, &problem):
		return fetched, wouldFail(p, problem)
	case errors.As(err, &failure):
		return fetched, wouldFail(p, &render.Problem{Field: failure.Field, Message: failure.Reason})
	case errors.As(err, &away):
		return fetched, exit.Errorf(
			exit.Unexpected,
			"the page server is unavailable: %w; a mailing would try again",
			away,
		)
	}
	return fetched, err
}

// wouldFail says that this recipient would fail in a mailing.
func wouldFail(p plan, problem *render.Problem) error {
	return exit.Errorf(
		exit.BadInput,
		"this recipient would fail: %s: %s: %s",
		p.file.Locate(problem.Field, problem.Line, problem.Column),
		problem.Field,
		problem.Message,
	)
}

// originOf returns where the recipients come from, also through the mailing that is continued.
func originOf(ctx context.Context, p plan) (string, error) {
	if p.in.Continue == nil {
		return p.in.Audience(), nil
	}
	s, err := command.OpenStore(ctx)
	if err != nil {
		return "", err
	}
	defer s.Close()
	earlier, err := s.Mailings.Get(ctx, p.in.Continue.Mailing)
	return earlier.Origin, err
}

// renderFor is what RenderBatch does for one recipient.
func renderFor(ctx context.Context, p plan, origin string, to render.Recipient) ([]byte, error) {
	settings, err := command.Settings()
	if err != nil {
		return nil, err
	}
	spec := content.Spec(p.in, origin, time.Now(), settings.Feedback().PreviewLinks())
	template, problems := render.Compile(spec)
	if len(problems) > 0 {
		return nil, exit.Errorf(exit.BadInput, "%s: %w", p.name, &problems[0])
	}
	message, _, err := template.NewRenderer(ctx).Render(nil, to)
	var problem *render.Problem
	if errors.As(err, &problem) {
		return nil, wouldFail(p, problem)
	}
	return message, err
}

func (a *app) writePreview(dir, name string, message []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return command.FileFailure(err)
	}
	path := filepath.Join(dir, name)
	err := command.FileFailure(output.ToFile(path, func(w io.Writer) error {
		_, err := w.Write(message)
		return err
	}))
	if err == nil {
		fmt.Fprintln(a.Out, path)
	}
	return err
}
