package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/query"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/content"
	"directmailer/internal/content/page"
	"directmailer/internal/content/render"
	"directmailer/internal/ledger"
)

func (a *app) previewCommand() *cobra.Command {
	var file, recipient, out string
	cmd := &cobra.Command{
		Use:   "preview -f FILE",
		Short: "See the exact message that somebody would get",
		Long: `Renders the message for one recipient, as it would be sent, and writes it as .eml to the standard output or into a folder.
A page is fetched as it would be, from this machine; DM_PAGE_HOSTS must allow a host that has no public address. Nothing
is stored and nothing is sent. The recipient comes from the list file that the mailing names, else from the stored list,
from the mailing that it continues, or from its query, for which DM_SOURCES must name the source; without --recipient it
is the first. Only Date and Message-ID differ from what is sent: they are of the mailing.`,
		Example: `  starter preview -f newsletter.yaml
  printf '%s' someone@example.com | starter preview -f newsletter.yaml --recipient - --out previews`,
		Args: wants(),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the mailing file (required)")
	cmd.Flags().StringVar(&recipient, "recipient", "", `whose message ("-": read the address from the standard input, where nobody else can see it)`)
	cmd.Flags().StringVar(&out, "out", "", "write the .eml into this folder and print its path")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	_ = cmd.MarkFlagDirname("out")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := a.readMailing(file, "")
		if err != nil {
			return err
		}
		to, err := a.recipient(cmd.Context(), p, recipient)
		if err != nil {
			return err
		}
		if to.Page, err = fetchFor(cmd.Context(), p, to); err != nil {
			return err
		}
		message, err := renderFor(p, to)
		if err != nil {
			return err
		}
		if out == "" {
			_, err := a.Out.Write(message)
			return err
		}
		return a.writePreview(out, fmt.Sprintf("%s.%08d.eml", p.in.ID, to.Number), message)
	}
	return cmd
}

// fetchFor fetches the recipient's page, if the mailing has pages.
func fetchFor(ctx context.Context, p plan, to render.Recipient) (render.Page, error) {
	source, problems := content.Pages(p.in)
	if len(problems) > 0 {
		return render.Page{}, failf(BadInput, "%s: %w", p.name, &problems[0])
	}
	if source == nil {
		return render.Page{}, nil
	}
	c, err := settings()
	if err != nil {
		return render.Page{}, err
	}
	fetcher := page.NewFetcher(c.PageHosts)
	defer fetcher.Close()
	u, err := source.NewLocator().Locate(to)
	var fetched render.Page
	if err == nil {
		fetched, err = fetcher.Fetch(ctx, source, u)
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
		return fetched, failf(Unexpected, "the page server is unavailable: %w; a mailing would try again", away)
	}
	return fetched, err
}

// wouldFail says that a mailing would not send to this recipient.
func wouldFail(p plan, problem *render.Problem) error {
	return failf(BadInput, "this recipient would be failed: %s: %s: %s", p.file.Locate(problem.Field, problem.Line, problem.Column), problem.Field, problem.Message)
}

// renderFor is what RenderBatch does for one recipient.
func renderFor(p plan, to render.Recipient) ([]byte, error) {
	template, problems := render.Compile(content.Spec(p.in, time.Now()))
	if len(problems) > 0 {
		return nil, failf(BadInput, "%s: %w", p.name, &problems[0])
	}
	message, _, err := template.NewRenderer().Render(nil, to)
	var problem *render.Problem
	if errors.As(err, &problem) {
		return nil, wouldFail(p, problem)
	}
	return message, err
}

// recipient finds whom to render for.
func (a *app) recipient(ctx context.Context, p plan, wanted string) (to render.Recipient, err error) {
	key := ""
	if wanted == "-" {
		line, err := io.ReadAll(io.LimitReader(a.In, 1024))
		if err != nil {
			return to, failf(BadInput, "the standard input cannot be read: %w", err)
		}
		wanted = oneLine(string(line))
	}
	if wanted != "" {
		parsed, err := address.Parse(wanted)
		if err != nil {
			return to, usage("--recipient: the address %w", err)
		}
		key = parsed.Key()
	}
	switch {
	case p.in.Query != nil:
		return a.queriedRecipient(ctx, p, key)
	case p.in.Continue != nil:
		return continuedRecipient(ctx, p, key)
	case p.listFile == "":
		return storedRecipient(ctx, p, key)
	}
	m, number, err := find(p.listFile, func(m csvlist.Member) bool { return key == "" || m.Address.Key() == key })
	if err == io.EOF {
		return to, failf(NotFound, "%s has no usable row for that recipient", base(p.listFile))
	}
	if err != nil {
		return to, err
	}
	to = render.Recipient{Number: number, Address: m.Address.String()}
	return to, json.Unmarshal(m.Attributes, &to.Attributes)
}

func storedRecipient(ctx context.Context, p plan, key string) (to render.Recipient, err error) {
	s, err := openStore(ctx)
	if err != nil {
		return to, err
	}
	defer s.close()
	if _, err := s.lists.Get(ctx, p.in.List); errors.Is(err, lists.ErrNotFound) {
		return to, failf(NotFound, "no list is named %s, and %s names no file for it", p.in.List, p.name)
	} else if err != nil {
		return to, err
	}
	found, err := s.lists.First(ctx, p.in.List, key, 1)
	if err != nil {
		return to, err
	}
	if len(found) == 0 {
		return to, failf(NotFound, "the list %s has no such recipient", p.in.List)
	}
	return render.Recipient{Number: 1, Address: found[0].Address, Attributes: found[0].Attributes}, nil
}

// queriedRecipient asks the source, as a worker would: this shell must know it.
func (a *app) queriedRecipient(ctx context.Context, p plan, key string) (to render.Recipient, err error) {
	q := p.in.WithDefaults().Query
	sources, err := knownSources()
	if err != nil {
		return to, err
	}
	if !sources.Has(q.Source) {
		return to, failf(BadInput, "%s: DM_SOURCES of this shell has no source named %s: to preview, it must ask it itself", p.name, q.Source)
	}
	rows, err := sources.Query(ctx, q.Source, q.SQL, time.Duration(q.Timeout))
	if err != nil {
		return to, queryFailure(p, err)
	}
	defer rows.Close()
	faults := faultList{name: p.name}
	faults.fields(p, rows.Columns())
	if err := faults.report(a); err != nil {
		return to, err
	}
	for {
		m, err := rows.Next()
		switch {
		case err == io.EOF:
			return to, failf(NotFound, "the query on %s finds no such recipient", q.Source)
		case err != nil:
			return to, queryFailure(p, err)
		case key == "" || m.Key == key:
			to = render.Recipient{Number: 1, Address: m.Address}
			return to, json.Unmarshal(m.Attributes, &to.Attributes)
		}
	}
}

func queryFailure(p plan, err error) error {
	var fault *query.Fault
	if errors.As(err, &fault) {
		return failf(BadInput, "%s: %w", p.file.Locate("query.sql", 0, 0), err)
	}
	return err
}

var errFound = errors.New("found")

// continuedRecipient finds a recipient among those of the earlier mailing that are continued.
func continuedRecipient(ctx context.Context, p plan, key string) (to render.Recipient, err error) {
	s, err := openStore(ctx)
	if err != nil {
		return to, err
	}
	defer s.close()
	c := p.in.WithDefaults().Continue
	old, err := s.mailings.Get(ctx, c.Mailing)
	if err != nil {
		return to, notStored(err, c.Mailing)
	}
	outcomes := make([]ledger.Status, len(c.Outcomes))
	for i, o := range c.Outcomes {
		outcomes[i] = ledger.Status(o)
	}
	var number int32
	err = s.ledger.Report(ctx, old.Key, outcomes, func(l ledger.Line) error {
		if a, err := address.Parse(l.Address); key != "" && (err != nil || a.Key() != key) {
			return nil
		}
		number = l.Number
		return errFound
	})
	if err == nil {
		return to, failf(NotFound, "mailing %s has no such recipient that is %s", c.Mailing, strings.Join(c.Outcomes, " or "))
	}
	if !errors.Is(err, errFound) {
		return to, err
	}
	err = s.recipients.Range(ctx, old.Key, number, number, func(r recipients.Recipient) error {
		to = render.Recipient{Number: 1, Address: r.Address, Attributes: r.Attributes}
		return nil
	})
	return to, err
}

func (a *app) writePreview(dir, name string, message []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fileFailure(err)
	}
	path := filepath.Join(dir, name)
	err := a.toFile(path, func(w io.Writer) error {
		_, err := w.Write(message)
		return err
	})
	if err == nil {
		fmt.Fprintln(a.Out, path)
	}
	return err
}
