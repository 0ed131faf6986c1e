package start

import (
	"context"
	"fmt"
	"io"

	"directmailer/internal/content"
	"directmailer/internal/content/lint"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

// dryRunResult is the answer of `starter start --dry-run`.
type dryRunResult struct {
	Mailing  string `json:"mailing"`
	Audience string `json:"audience"`
	// Counted tells whether this shell could read the audience. The counts below are zero if not.
	Counted    bool  `json:"counted"`
	Members    int64 `json:"members"`
	Rejected   int64 `json:"rejected"`
	Duplicates int64 `json:"duplicates"`
	// Recipients are the different addresses. Sendable are those that have not opted out.
	Recipients int64 `json:"recipients"`
	OptedOut   int64 `json:"opted_out"`
	Sendable   int64 `json:"sendable"`
	// IgnoresOptOuts are the scopes whose opt-outs the mailing ignores.
	IgnoresOptOuts []string `json:"ignores_opt_outs,omitempty"`
	// Sampled are the recipients whose messages were rendered. SampleFailed are those of them who
	// would have none.
	Sampled      int `json:"sampled"`
	SampleFailed int `json:"sample_failed"`
	// Signatures are the names of the keys for the domain of From, as far as DM_DKIM of this shell
	// has them.
	Signatures []string `json:"signatures"`
	// BouncesTo is the address to which bounces go, with the environment of this shell. A * in it
	// stands for the token of a recipient.
	BouncesTo string `json:"bounces_to"`
	// Findings are about the messages of the sample, as `starter check -f` shows them.
	Findings []lint.Finding `json:"findings"`
	// Domains are the recipient domains of the sendable, largest first, at most ten.
	Domains      []domainCount `json:"domains"`
	DomainsInAll int           `json:"domains_in_all"`

	signed string // whether the messages will be signed, for people
}

type domainCount struct {
	Domain     string `json:"domain"`
	Recipients int64  `json:"recipients"`
}

// domainCounts describes the recipient domains of a dry run.
var domainCounts = output.Table[domainCount]{
	{Title: "domain", Wrap: 40, Cell: func(d domainCount) string { return output.Clean(d.Domain) }},
	{Title: "recipients", Right: true, Cell: func(d domainCount) string { return output.Thousands(d.Recipients) }},
}

// topDomains is how many domains a dry run names.
const topDomains = 10

// dryRuns describes the answer of a dry run.
var dryRuns = output.Record[dryRunResult]{
	Fields: func(r dryRunResult) []output.Field {
		fields := []output.Field{
			{Name: "mailing", Text: r.Mailing}, {Name: "audience", Text: r.Audience}, {Name: "signed", Text: r.signed},
			{Name: "bounces go to", Text: output.Clean(r.BouncesTo)},
			{Name: "ignores opt-outs", Text: workflows.IgnoredOptOuts(r.IgnoresOptOuts)},
		}
		if !r.Counted {
			text := "not counted: DM_SOURCES of this shell does not have the source"
			return append(fields, output.Field{Name: "recipients", Text: text})
		}
		return append(fields,
			output.Field{Name: "members", Text: output.Thousands(r.Members)},
			output.Field{Name: "rejected rows", Text: output.Thousands(r.Rejected)},
			output.Field{Name: "duplicates", Text: output.Thousands(r.Duplicates)},
			output.Field{Name: "recipients", Text: output.Thousands(r.Recipients)},
			output.Field{Name: "opted out", Text: output.Thousands(r.OptedOut)},
			output.Field{Name: "would be sent", Text: output.Thousands(r.Sendable)},
			output.Field{Name: "sample", Text: sampleWords(r)})
	},
	Rest: func(w io.Writer, r dryRunResult) {
		if len(r.Domains) > 0 {
			domainCounts.Render(w, r.Domains)
		}
		if more := r.DomainsInAll - len(r.Domains); more > 0 {
			fmt.Fprintf(w, "… and %s\n", output.Count(more, "more domain"))
		}
		fmt.Fprintln(w, "dry run: nothing was started")
	},
}

func sampleWords(r dryRunResult) string {
	text := output.Count(r.Sampled, "recipient") + " rendered"
	if r.SampleFailed > 0 {
		text += fmt.Sprintf(", %d would fail", r.SampleFailed)
	}
	return text
}

// dryRun does what start does, except that it changes nothing: it checks everything, and counts the
// recipients.
func (a *app) dryRun(
	ctx context.Context, s *command.Store, p plan, o startOptions, format *output.Format,
) error {
	c, err := command.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := notTaken(ctx, s, c, p.in.ID); err != nil {
		return err
	}
	r := dryRunResult{
		Mailing: p.in.ID, Audience: p.in.Audience(), IgnoresOptOuts: p.in.IgnoreOptOuts, Domains: []domainCount{},
	}
	if r.Signatures, r.signed, err = signatures(p); err != nil {
		return err
	}
	conf, err := command.Settings()
	if err != nil {
		return err
	}
	r.BouncesTo = content.SenderPattern(p.in, string(conf.BounceDomain))
	if p.listFile == "" {
		if err := a.checkAudience(ctx, s, p); err != nil {
			return err
		}
	}
	tried, err := a.trySample(ctx, s, p)
	if err != nil {
		return err
	}
	if r.Findings, err = a.mayStart(ctx, p, tried, o); err != nil {
		return err
	}
	r.Sampled, r.SampleFailed = tried.Rendered, tried.Failed
	if err := a.countAudience(ctx, s, p, &r); err != nil {
		return err
	}
	a.warnOfNoWorker(ctx)
	err = dryRuns.Write(a.Out, format, r)
	if err == nil && r.Rejected > 0 {
		return rejectedError(p, r.Rejected)
	}
	return err
}
