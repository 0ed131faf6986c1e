package workflows

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"directmailer/internal/audience/address"
	"directmailer/internal/delivery/rate"
	"directmailer/internal/naming"
)

const (
	maxSubject = 4096
	maxMailbox = 1000
	maxBatch   = 5000

	// Of a retry setting.
	maxAttempts = 1000
	maxInterval = 24 * time.Hour
)

// Validate returns all problems of the input: first those of the JSON that it came from
// ([Input.Misread]), then those of the fields in their order. It is deterministic and reads neither
// clock nor database. The activity OpenMailing checks whether the templates compile, and whether
// list and drop points exist. A message continues the field's name ("has no @") and quotes no
// address.
//
// An input that is too large or has a list that is too long has only these problems: nothing else
// of it is looked at. There are at most [MaxProblems].
func (in Input) Validate() []Problem {
	v := validator{problems: slices.Clone(in.misread), misread: in.misread}
	if tooLarge := in.TooLarge(); len(tooLarge) > 0 {
		return Bounded(append(v.problems, tooLarge...))
	}
	in = in.WithDefaults()
	v.check("id", in.ID == "" || naming.ValidID(in.ID),
		"must be "+naming.IDRule+" (no address: it is shown everywhere)")
	v.mailbox("from", in.From, true)
	v.mailbox("reply_to", in.ReplyTo, false)
	if in.EnvelopeSender != "" {
		_, err := parseSender(in.EnvelopeSender)
		v.err("envelope_sender", err)
	}
	v.line("to_name", in.ToName)
	v.check("subject", strings.TrimSpace(in.Subject) != "", "is missing")
	v.line("subject", in.Subject)
	v.headers(in.Headers)
	v.audience(in)
	v.optOuts(in)
	v.content(in.Content)
	v.check("unsubscribe", in.Unsubscribe == UnsubscribeLink || in.Unsubscribe == UnsubscribeNone, "must be link or none")
	v.dropPoints(in.DropPoints)
	v.check("batch_size", in.BatchSize >= 1 && in.BatchSize <= maxBatch, "must be 1 to 5000")
	v.retry("retry.list", in.Retry.List)
	v.retry("retry.database", in.Retry.Database)
	v.retry("retry.page", in.Retry.Page)
	v.retry("retry.drop_point", in.Retry.DropPoint)
	v.deferral(in.Deferral)
	v.check("max_error_percent", in.MaxErrorPercent >= 0 && in.MaxErrorPercent <= 100, "must be 0 to 100")
	v.check("error_minimum", in.ErrorMinimum >= 1, "must be 1 or more")
	v.rates(in.Rates)
	v.check("on_uncertain", in.OnUncertain == Resend || in.OnUncertain == Hold, "must be resend or hold")
	v.check("on_exhausted", in.OnExhausted == Suspend || in.OnExhausted == Fail, "must be suspend or fail")
	v.check("not_after", in.NotAfter.IsZero() || in.NotAfter.After(in.NotBefore), "must be later than not_before")
	v.check("resume", in.Resume == nil, "is set by the workflow itself only")
	return Bounded(v.problems)
}

// TooLarge returns a problem if the input is too long, and one for each list in it that is.
// [Input.Validate] returns them, too.
func (in Input) TooLarge() []Problem {
	var v validator // not silent about a misread field: nothing goes through the list
	v.check("content", fits(in), "is too long: the whole input may be 1.5 MiB as JSON, "+
		"in which each < > and & counts six octets; put images on a web server")
	v.count("drop_points", len(in.DropPoints), MaxDropPoints)
	v.count("headers", len(in.Headers), MaxHeaders)
	v.count("ignore_opt_outs", len(in.IgnoreOptOuts), len(optOutScopes))
	v.count("content.page_hosts", len(in.Content.PageHosts), MaxPageHosts)
	v.count("rates.drop_points", len(in.Rates.DropPoints), MaxDropPoints)
	v.count("rates.domains", len(in.Rates.Domains), MaxDomainRates)
	if in.Continue != nil {
		v.count("continue.outcomes", len(in.Continue.Outcomes), len(continuable))
	}
	return v.problems
}

func (v *validator) count(field string, n, most int) {
	v.check(field, n <= most, fmt.Sprintf("has %d entries: there can be up to %d", n, most))
}

// fits reports whether the input is no longer than MaxInput as JSON.
func fits(in Input) bool {
	data, err := json.Marshal(in)
	return err == nil && len(data) <= MaxInput
}

// validator collects problems. It is silent about a field that is misread, or that holds or is in a
// misread one: content is empty because content.html cannot be read.
type validator struct{ problems, misread []Problem }

func (v *validator) check(field string, ok bool, message string) {
	if !ok && !slices.ContainsFunc(v.misread, func(p Problem) bool { return related(p.Field, field) }) {
		v.problems = append(v.problems, Problem{field, message})
	}
}

// related reports whether two paths are the same field, or one of them is in the other.
func related(a, b string) bool {
	holds := func(a, b string) bool {
		return len(b) > len(a) && (b[len(a)] == '.' || b[len(a)] == '[') && strings.HasPrefix(b, a)
	}
	return a == b || holds(a, b) || holds(b, a)
}

func (v *validator) err(field string, err error) {
	if err != nil {
		v.check(field, false, err.Error())
	}
}

func (v *validator) mailbox(field, value string, required bool) {
	switch {
	case value == "":
		v.check(field, !required, "is missing")
		return
	case len(value) > maxMailbox:
		v.check(field, false, "is longer than 1000 octets")
		return
	}
	_, err := address.ParseMailbox(value)
	v.err(field, err)
	v.check(field, err != nil || !strings.Contains(value, "{{"),
		"holds {{, but is not a template: every recipient would see the braces")
}

// line checks the template of one line of a header.
func (v *validator) line(field, value string) {
	v.check(field, !strings.ContainsAny(value, "\r\n"), "has a line break")
	v.check(field, !strings.Contains(value, "\x00"), "has a NUL character")
	v.check(field, len(value) <= maxSubject, "is longer than 4096 octets")
}

// headers checks the further headers. Package message has the list of those that may be added.
func (v *validator) headers(headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		field := "headers." + name
		v.check(field, strings.TrimSpace(headers[name]) != "", "is empty: leave the header out")
		v.line(field, headers[name])
	}
}

func (v *validator) audience(in Input) {
	given := 0
	for _, is := range []bool{in.List != "", in.Query != nil, in.Continue != nil} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		v.check("list", false, "must name a list, unless query or continue says who gets the mail")
	case given > 1:
		v.check("list", false, "only one of list, query and continue can say who gets the mail")
	}
	v.check("list", in.List == "" || ValidName(in.List), "must name a list: "+naming.Rule)
	if q := in.Query; q != nil {
		v.check("query.source", ValidName(q.Source), "must name a source database, as the workers' DM_SOURCES does")
		v.check("query.sql", strings.TrimSpace(q.SQL) != "" || q.Stored != "", "is missing")
		v.check("query.stored", q.Stored == "" || q.SQL == "", "only one of sql and stored can be given")
		v.check("query.sql", !strings.Contains(q.SQL, "\x00"), "has a NUL character")
		v.check("query.timeout", within(q.Timeout, time.Second, 6*time.Hour), "must be 1s to 6h")
	}
	if c := in.Continue; c != nil {
		v.check("continue.mailing", naming.ValidID(c.Mailing), "must be the ID of a mailing")
		v.check("continue.mailing", c.Mailing != in.ID || in.ID == "",
			"is this mailing itself: a new one needs an ID of its own")
		for i, outcome := range c.Outcomes {
			field := fmt.Sprintf("continue.outcomes[%d]", i)
			v.check(field, slices.Contains(continuable, outcome), "must be "+alternatives(continuable))
			v.check(field, !slices.Contains(c.Outcomes[:i], outcome), "is there twice")
		}
	}
}

func (v *validator) optOuts(in Input) {
	v.check("topic", in.Topic == "" || ValidName(in.Topic), "must be "+naming.Rule)
	for i, scope := range in.IgnoreOptOuts {
		field := fmt.Sprintf("ignore_opt_outs[%d]", i)
		v.check(field, slices.Contains(optOutScopes, scope), "must be "+alternatives(optOutScopes))
		v.check(field, !slices.Contains(in.IgnoreOptOuts[:i], scope), "is there twice")
	}
	v.check("ignore_opt_outs", in.LegallyRequired || !in.IgnoresAllOptOuts(),
		"has all, which mails people who asked not to get any mail: "+
			"if the law demands this mailing, set legally_required: true as well")
	v.check("legally_required", !in.LegallyRequired || len(in.IgnoreOptOuts) > 0,
		"has no effect without ignore_opt_outs")
}

// IgnoresAllOptOuts reports whether the mailing goes to people who asked not to get any mail.
func (in Input) IgnoresAllOptOuts() bool { return slices.Contains(in.IgnoreOptOuts, optOutScopes[0]) }

var optOutScopes = []string{"all", "list", "topic"}

var continuable = []string{"unsent", "failed", "bounced", "uncertain"}

// alternatives joins words as in "a, b or c".
func alternatives(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// ContinuableOutcomes returns the outcomes whose recipients another mailing can take up: those of
// [Continuation].
func ContinuableOutcomes() []string { return slices.Clone(continuable) }

func (v *validator) content(c Content) {
	page := c.PageURL != "" || c.PageColumn != ""
	v.check("content", page || strings.TrimSpace(c.Text) != "" || strings.TrimSpace(c.HTML) != "",
		"is empty: text, html, both, or page_url are needed")
	v.check("content.text", !strings.Contains(c.Text, "\x00"), "has a NUL character")
	v.check("content.html", !strings.Contains(c.HTML, "\x00"), "has a NUL character")
	v.check("content.html", !page || c.HTML == "", "is there besides a page: only one of them can be what is sent")
	v.check("content.static", !page || !c.Static, "is true, but a page is fetched for each recipient")
	v.check("content.page_url", len(c.PageURL) <= maxSubject && !strings.ContainsAny(c.PageURL, "\r\n\x00"),
		"must be one line of up to 4096 octets")
	isHTTP := strings.HasPrefix(c.PageURL, "http://") || strings.HasPrefix(c.PageURL, "https://")
	v.check("content.page_url", c.PageURL == "" || isHTTP, "must begin with http:// or https://")
	v.check("content.page_hosts", c.PageURL != "" || c.PageColumn == "" || len(c.PageHosts) > 0,
		"are needed with page_column: the list must not say which hosts we ask")
	v.check("content.page_hosts", page || len(c.PageHosts) == 0, "mean nothing without page_url or page_column")
}

func (v *validator) deferral(d Deferral) {
	v.check("deferral.first", within(d.First, 10*time.Millisecond, 24*time.Hour), "must be 10ms to 24h")
	v.check("deferral.most", d.Most >= d.First && within(d.Most, 0, 24*time.Hour),
		"must not be shorter than first, nor longer than 24h")
	v.check("deferral.for", within(d.For, 0, 240*time.Hour), "must be up to 240h")
}

func within(d Duration, least, most time.Duration) bool {
	return time.Duration(d) >= least && time.Duration(d) <= most
}

func (v *validator) rates(r Rates) {
	v.rate("rates.mailing", r.Mailing)
	for _, name := range slices.Sorted(maps.Keys(r.DropPoints)) {
		v.check("rates.drop_points."+name, ValidName(name), "must name a drop point")
		v.rate("rates.drop_points."+name, r.DropPoints[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Domains)) {
		domain, err := address.ParseDomain(name)
		v.err("rates.domains."+name, err)
		v.check("rates.domains."+name, err != nil || domain == name, "must be written as "+domain)
		v.rate("rates.domains."+name, r.Domains[name])
	}
}

func (v *validator) rate(field string, r Rate) {
	if r == "" {
		return
	}
	_, err := rate.Parse(string(r))
	v.err(field, err)
}

func (v *validator) dropPoints(points []string) {
	for i, name := range points {
		field := fmt.Sprintf("drop_points[%d]", i)
		v.check(field, ValidName(name), "must name a drop point: "+naming.Rule)
		v.check(field, !slices.Contains(points[:i], name), "is there twice")
	}
}

func (v *validator) retry(field string, r Retry) {
	v.check(field+".attempts", r.Attempts >= 1 && r.Attempts <= maxAttempts, "must be 1 to 1000")
	interval := time.Duration(r.Interval)
	v.check(field+".interval", interval >= 10*time.Millisecond && interval <= maxInterval, "must be 10ms to 24h")
}
