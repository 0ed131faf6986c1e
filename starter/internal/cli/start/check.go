package start

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/address"
	"directmailer/internal/content"
	"directmailer/internal/content/lint"
	"directmailer/internal/senderdomain"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/sample"
)

// DNS says whether and how the records of the sender are looked up.
type DNS struct {
	Resolver string   // "", HOST:PORT or "system"
	FromIPs  []string // the addresses that the mail comes from
}

// AddFlags gives a command the flags for the look-up.
func (d *DNS) AddFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.Resolver, "resolver", "",
		`DNS server that is asked for the sender's records, HOST:PORT, or "system" (default: none)`)
	cmd.Flags().StringSliceVar(&d.FromIPs, "from-ip", nil, "with --resolver: IP addresses that the mail comes from")
	_ = cmd.RegisterFlagCompletionFunc("resolver",
		cobra.FixedCompletions([]string{"system"}, cobra.ShellCompDirectiveNoFileComp))
}

// open returns the resolver, nil without a look-up, and the addresses.
func (d *DNS) open() (r *senderdomain.Resolver, ips []netip.Addr, err error) {
	for _, text := range d.FromIPs {
		ip, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil || ip.Zone() != "" {
			return nil, nil, exit.Usagef("--from-ip: %q is not an IP address", output.Typed(text))
		}
		ips = append(ips, ip)
	}
	if d.Resolver == "" {
		if len(ips) > 0 {
			return nil, nil, exit.Usagef("--from-ip needs --resolver")
		}
		return nil, nil, nil
	}
	if r, err = senderdomain.NewResolver(d.Resolver); err != nil {
		return nil, nil, exit.Usagef("--resolver: %w", err)
	}
	return r, ips, nil
}

// findings looks the records of the mailing's sender up, if that is wanted.
func (d *DNS) findings(ctx context.Context, p plan) ([]lint.Finding, error) {
	r, ips, err := d.open()
	if r == nil || err != nil {
		return nil, err
	}
	from, err := address.ParseMailbox(p.in.From)
	if err != nil {
		return nil, err // the plan is checked already
	}
	c, err := command.Settings()
	if err != nil {
		return nil, err
	}
	keys, err := publicKeys(p)
	if err != nil {
		return nil, err
	}
	return senderdomain.Check(ctx, r, senderdomain.Sender{
		From: from.Address.Domain(), Envelope: domainOf(content.SenderPattern(p.in, string(c.BounceDomain))),
		Keys: keys, Addresses: ips,
	}), nil
}

// Checked is the answer of `starter check` about a mailing file.
type Checked struct {
	File     string         `json:"file"`
	Sampled  int            `json:"sampled"` // recipients whose messages were rendered
	Failed   int            `json:"failed"`  // those of them without a message
	Largest  lint.Sizes     `json:"largest"` // octets of the largest message and HTML part
	Findings []lint.Finding `json:"findings"`
}

// Check checks a mailing file as start does: the file, the header of its list, the messages of a
// sample of the recipients, and with a resolver the sender's records. It prints the problems of the
// file on the standard error. Its own error is for a mailing that start refuses whatever the
// findings are.
func Check(ctx context.Context, shared command.App, file string, dns DNS) (Checked, error) {
	a := &app{shared}
	checked := Checked{File: output.Base(file), Findings: []lint.Finding{}}
	if _, _, err := dns.open(); err != nil {
		return checked, err
	}
	p, err := a.readMailing(ctx, file, "")
	if err == nil {
		err = p.undecided()
	}
	if err != nil {
		return checked, err
	}
	tried, err := a.checkSample(ctx, p)
	if err != nil {
		return checked, err
	}
	checked.Sampled, checked.Failed, checked.Largest = tried.Rendered, tried.Failed, tried.Sizes
	checked.Findings, err = a.placed(ctx, p, tried, dns)
	return checked, err
}

// checkSample renders a sample. Where the database does not answer, there is none.
func (a *app) checkSample(ctx context.Context, p plan) (sample.Result, error) {
	if p.listFile != "" || p.in.Query != nil {
		if p.in.Query != nil {
			if err := a.checkQuery(ctx, p); err != nil {
				return sample.Result{}, err
			}
		}
		return a.trySample(ctx, nil, p)
	}
	s, err := command.OpenStore(ctx)
	if err != nil {
		a.Say("warning: no recipient can be read: %s", command.TextOf(err))
		trial, err := newTrial(ctx, p)
		if err != nil {
			return sample.Result{}, err
		}
		return trial.Render(trial.Sample()), nil
	}
	defer s.Close()
	if err := a.checkAudience(ctx, s, p); err != nil {
		return sample.Result{}, err
	}
	return a.trySample(ctx, s, p)
}

// placed returns the findings of a sample and of the DNS with their places, the worst first.
func (a *app) placed(ctx context.Context, p plan, tried sample.Result, dns DNS) ([]lint.Finding, error) {
	records, err := dns.findings(ctx, p)
	all := append(slices.Clone(tried.Findings), records...)
	lint.Sort(all)
	for i := range all {
		if f := &all[i]; f.Field != "" && p.file != nil {
			f.Place = p.file.Locate(f.Field, f.Line, f.Column)
		}
	}
	return append([]lint.Finding{}, all...), err
}

// Errors returns the different codes of the errors, for a sentence.
func Errors(all []lint.Finding) (codes []string) {
	for _, f := range all {
		if code := string(f.Code); f.Severity == lint.Error && !slices.Contains(codes, code) {
			codes = append(codes, code)
		}
	}
	return codes
}

// WhereOf says for people where a finding is.
func WhereOf(f lint.Finding) string {
	var parts []string
	for _, part := range []string{f.Place, f.Where} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return f.Field
	}
	return output.Clean(strings.Join(parts, ": "))
}

// maxOfCode is how many findings with one code a start shows.
const maxOfCode = 3

// mayStart shows the findings of a mailing, other than notes. The error says that it must not
// start: it has errors other than those of --despite.
func (a *app) mayStart(ctx context.Context, p plan, tried sample.Result, o startOptions) ([]lint.Finding, error) {
	all, err := a.placed(ctx, p, tried, o.dns)
	if err != nil {
		return nil, err
	}
	shown := map[lint.Code]int{}
	var stopped []string
	for _, f := range all {
		despite := slices.Contains(o.despite, string(f.Code))
		switch {
		case f.Severity == lint.Note:
			continue
		case f.Severity == lint.Error && !despite && !slices.Contains(stopped, string(f.Code)):
			stopped = append(stopped, string(f.Code))
		}
		if shown[f.Code]++; shown[f.Code] <= maxOfCode {
			a.Say("%s", lineOf(f, tried.Rendered-tried.Failed, despite))
		}
	}
	for _, f := range all {
		if n := shown[f.Code] - maxOfCode; n > 0 {
			a.Say("… and %d more of %s: see `starter check -f %s`", n, f.Code, p.name)
			delete(shown, f.Code)
		}
	}
	if len(stopped) == 0 {
		return all, nil
	}
	return all, exit.Errorf(exit.BadInput,
		"%s: %s (%s); nothing was done: correct the mailing, or start it with --despite",
		p.name, output.Count(len(stopped), "error"), strings.Join(stopped, ", "))
}

// lineOf is a finding for people, of a sample of so many messages.
func lineOf(f lint.Finding, messages int, despite bool) string {
	severity := string(f.Severity)
	if despite {
		severity += " (--despite)"
	}
	text := fmt.Sprintf("%s: %s: ", severity, f.Code)
	if where := WhereOf(f); where != "" {
		text += where + ": "
	}
	text += f.Message + ": " + f.Action
	if f.Messages > 0 && f.Messages < messages {
		text += fmt.Sprintf(" (%s of a sample of %s)", output.Thousands(int64(f.Messages)), output.Count(messages, "message"))
	}
	return output.OneLine(text)
}

// checkDespite refuses codes that do not exist.
func checkDespite(codes []string) error {
	for i, code := range codes {
		codes[i] = strings.TrimSpace(code)
		if !lint.Code(codes[i]).Known() {
			return exit.Usagef("--despite: no finding has the code %q: `starter check -f FILE` shows the codes of a mailing",
				output.Typed(code))
		}
	}
	return nil
}

// completeDespite completes the codes of findings that can stop a mailing.
func completeDespite(_ *cobra.Command, _ []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	for _, rule := range lint.Rules() {
		if rule.Severity == lint.Error && strings.HasPrefix(string(rule.Code), typed) {
			meaning, _, _ := strings.Cut(rule.Meaning, ". ")
			found = append(found, string(rule.Code)+"\t"+meaning)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
