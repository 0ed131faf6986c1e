package workflows_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"directmailer/workflows"
)

func TestEveryProblemOfAnInputIsReportedAtOnceByItsField(t *testing.T) {
	t.Parallel()
	in := workflows.Input{
		ID: "somebody@example.com", From: "News\r\nBcc: x@example.com", ReplyTo: "nobody", EnvelopeSender: "a@b@",
		Subject: "Hi\r\nBcc: x",
		List:    "../people", DropPoints: []string{"mx", "mx", "M X"}, BatchSize: 9000,
		Retry: workflows.Retries{
			DropPoint: workflows.Retry{Attempts: -1, Interval: workflows.Duration(time.Millisecond)},
		},
		OnUncertain: "perhaps", OnExhausted: "never", NotBefore: time.Unix(10, 0), NotAfter: time.Unix(5, 0),
		Resume: &workflows.Progress{},
	}
	want := "id from reply_to envelope_sender subject list content drop_points[1] drop_points[2] batch_size " +
		"retry.drop_point.attempts " +
		"retry.drop_point.interval on_uncertain on_exhausted not_after resume"
	var fields []string
	for _, p := range in.Validate() {
		fields = append(fields, p.Field)
		if strings.Contains(p.Message, "example.com") {
			t.Errorf("%s: the message quotes an address: %s", p.Field, p.Message)
		}
	}
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAnAddressOfTheMailingIsNoTemplate(t *testing.T) {
	t.Parallel()
	in := input()
	in.From, in.ReplyTo = "{{.seller}} <news@example.com>", "Support (Billing {{.city}}) <help@example.com>"
	for i, p := range in.Validate() {
		if want := []string{"from", "reply_to"}[i]; p.Field != want || !strings.Contains(p.Message, "not a template") {
			t.Errorf("got %v, want a problem of %s", p, want)
		}
	}
	if n := len(in.Validate()); n != 2 {
		t.Errorf("%d problems, want 2", n)
	}
}

func TestAGoodInputHasNoProblemAndKeepsWhatItSays(t *testing.T) {
	t.Parallel()
	in := input()
	in.NotAfter = time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)
	if problems := in.Validate(); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	suspended := &workflows.Suspension{Every: workflows.Duration(time.Minute)}
	in.Resume = &workflows.Progress{
		BatchProgress:      workflows.BatchProgress{Ready: []int{7}},
		SuspensionProgress: workflows.SuspensionProgress{Suspended: suspended},
	}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var again workflows.Input
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, again) {
		t.Errorf("got  %+v\nwant %+v", again, in)
	}
}

func TestSlipsInAJSONAreReportedWithAllOtherProblems(t *testing.T) {
	t.Parallel()
	var in workflows.Input
	err := json.Unmarshal(
		[]byte(`{"from": 7, "on_uncertian": "hold", "batch_size": "many", "content": {"html": "x", "htlm": "y"},
		"retry": {"drop_point": {"interval": "soon", "tries": 3}}, "not_before": "tomorrow"}`),
		&in,
	)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range in.Validate() {
		got[p.Field] = p.Message
	}
	for field, part := range map[string]string{
		"from": "must be a text", "on_uncertian": "not a field", "batch_size": "whole number", "content.htlm": "not a field",
		"retry.drop_point.interval": "duration", "retry.drop_point.tries": "not a field", "not_before": "a time",
		"subject": "missing", "list": "must name",
	} {
		if !strings.Contains(got[field], part) {
			t.Errorf("%s: got %q, want something with %q", field, got[field], part)
		}
	}
}

func TestWhatIsNoObjectIsNoInput(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`[1]`, `"secret"`, `7`, `null`, `{"from": }`} {
		var in workflows.Input
		if err := in.UnmarshalJSON([]byte(data)); err == nil {
			t.Errorf("%s was taken for an input", data)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error quotes the input: %v", err)
		}
	}
}

// A run hands its input to the next as JSON, from which OpenMailing reads it: what was wrong with
// it must arrive there.
func TestSlipsSurviveThatTheInputIsHandedOn(t *testing.T) {
	t.Parallel()
	data := []byte(
		`{"on_uncertian": "hold", "zz": 1, "aa": 2, "batch_size": "many", "content": "hello",
		"retry": {"page": 5, "lost": {}}, "drop_points": [1], "resume": 7, "subject": "x", "": 1}`,
	)
	var first workflows.Input
	if err := json.Unmarshal(data, &first); err != nil {
		t.Fatal(err)
	}
	next, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	var handed workflows.Input
	if err := json.Unmarshal(next, &handed); err != nil {
		t.Fatal(err)
	}
	problems := handed.Validate()
	if !reflect.DeepEqual(problems, first.Validate()) {
		t.Errorf("got  %v\nwant %v", problems, first.Validate())
	}
	var fields []string
	for _, p := range problems {
		fields = append(fields, p.Field)
	}
	want := "content drop_points[0] batch_size retry.page retry.lost resume  aa on_uncertian zz from list"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTheSameJSONGivesTheSameProblemsInTheSameOrder(t *testing.T) {
	t.Parallel()
	data := []byte(`{"q": 1, "w": 1, "e": 1, "r": 1, "t": 1, "y": 1, "content": {"u": 1, "i": 1, "o": 1}}`)
	var first workflows.Input
	if err := json.Unmarshal(data, &first); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		var again workflows.Input
		if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again.Validate(), first.Validate()) {
			t.Fatalf("got %v, %v; want %v", again.Validate(), err, first.Validate())
		}
	}
}

func TestNullIsTheSameAsLeftOut(t *testing.T) {
	t.Parallel()
	var in workflows.Input
	err := json.Unmarshal(
		[]byte(
			`{"from": "news@example.com", "subject": "x", "list": "people", "content": {"text": "x", "html": null}, "id": null,
		"retry": null, "drop_points": null, "not_before": null, "resume": null, "batch_size": null}`,
		),
		&in,
	)
	if err != nil || len(in.Validate()) > 0 {
		t.Errorf("got %v, %v", in.Validate(), err)
	}
}

func TestAnInputThatTemporalCannotCarryIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		html string
		fits bool
	}{
		{strings.Repeat("x", workflows.MaxInput-1000), true},
		{strings.Repeat("x", workflows.MaxInput), false},
		{strings.Repeat("<", workflows.MaxInput/6-200), true},
		{strings.Repeat("<", workflows.MaxInput/6), false}, // each is \u003c
	} {
		in := input()
		in.Content.HTML = c.html
		problems := in.Validate()
		if c.fits != (len(problems) == 0) {
			t.Errorf("%d times %q: %v", len(c.html), c.html[0], problems)
		}
		data, err := json.Marshal(in)
		if err != nil || c.fits != (len(data) <= workflows.MaxInput) {
			t.Errorf("%d times %q: %d octets, %v", len(c.html), c.html[0], len(data), err)
		}
	}
}

func TestNulCharactersAreRefused(t *testing.T) {
	t.Parallel()
	in := input() // jsonb cannot hold them
	in.Subject, in.Content = "a\x00b", workflows.Content{Text: "a\x00b", HTML: "a\x00b"}
	var fields []string
	for _, p := range in.Validate() {
		fields = append(fields, p.Field)
	}
	if got := strings.Join(fields, " "); got != "subject content.text content.html" {
		t.Errorf("got %s", got)
	}
}

func TestIDsListsAndDropPointsHavePlainNames(t *testing.T) {
	t.Parallel()
	for id, good := range map[string]bool{
		"spring-2026": true, "A.b_c-9": true, strings.Repeat("a", 100): true, strings.Repeat("a", 101): false, "a@b": false,
		"-a": false, "a-": false,
		"a--b": false, "a b": false, "a/b": false, "../a": false, "ü": false, "a\n": false,
	} {
		in := input()
		in.ID = id
		if got := len(in.Validate()) == 0; got != good {
			t.Errorf("id %q: %t", id, got)
		}
	}
	for name, good := range map[string]bool{
		"people": true, "a": true, "mx-1": true, "all_people_2026": true, strings.Repeat("a", 63): true,
		strings.Repeat("a", 64): false, "": false, "People": false,
		"a.b": false, "a--b": false, "-a": false, "a-": false, "a b": false, "a@b": false, "a\n": false, "../a": false,
	} {
		if got := workflows.ValidName(name); got != good {
			t.Errorf("%q: %t", name, got)
		}
	}
}

func TestDefaultsFillOnlyWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	half := workflows.Duration(30 * time.Second)
	got := workflows.Input{BatchSize: 7, Retry: workflows.Retries{Page: workflows.Retry{Attempts: 2}}}.WithDefaults()
	want := workflows.Input{
		BatchSize:    7,
		Unsubscribe:  workflows.UnsubscribeLink,
		OnUncertain:  workflows.Resend,
		OnExhausted:  workflows.Suspend,
		ErrorMinimum: 100,
		Retry: workflows.Retries{
			List: workflows.Retry{
				Attempts: 10,
				Interval: half,
			}, Database: workflows.Retry{Attempts: 10, Interval: half},
			Page: workflows.Retry{Attempts: 2, Interval: half}, DropPoint: workflows.Retry{Attempts: 5, Interval: half},
		},
		Deferral: workflows.Deferral{First: 60 * half, Most: 480 * half, For: 4 * 2880 * half},
	}
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(got.WithDefaults(), want) {
		t.Errorf("got %+v", got)
	}

	rare := workflows.Input{
		Deferral: workflows.Deferral{First: workflows.Duration(12 * time.Hour), For: 1},
	}.WithDefaults().Deferral
	if rare.First != workflows.Duration(12*time.Hour) || rare.Most != rare.First || rare.For != 1 {
		t.Errorf("rounds half a day apart: %+v", rare)
	}
}

// Inputs are values: what one of them is filled with must not turn up in another.
func TestDefaultsOfAnAudienceAreFilledInACopy(t *testing.T) {
	t.Parallel()
	in := workflows.Input{
		Query:    &workflows.Query{Source: "crm"},
		Continue: &workflows.Continuation{Mailing: "spring-1"},
	}
	got := in.WithDefaults()
	if got.Query.Timeout != workflows.Duration(10*time.Minute) ||
		!reflect.DeepEqual(got.Continue.Outcomes, []string{"unsent"}) {
		t.Errorf("got %+v %+v", got.Query, got.Continue)
	}
	if in.Query.Timeout != 0 || in.Continue.Outcomes != nil {
		t.Errorf("the input was changed: %+v %+v", in.Query, in.Continue)
	}
	in.Query.Timeout, in.Continue.Outcomes = workflows.Duration(time.Minute), []string{"failed", "bounced"}
	if got := in.WithDefaults(); !reflect.DeepEqual(got.Query, in.Query) ||
		!reflect.DeepEqual(got.Continue, in.Continue) {
		t.Errorf("got %+v %+v", got.Query, got.Continue)
	}
}

func TestEachFieldIsHeldToItsBounds(t *testing.T) {
	t.Parallel()
	query := func(change func(*workflows.Query)) func(*workflows.Input) {
		return func(in *workflows.Input) {
			in.List, in.Query = "", &workflows.Query{Source: "crm", SQL: "SELECT email FROM people"}
			change(in.Query)
		}
	}
	again := func(change func(*workflows.Continuation)) func(*workflows.Input) {
		return func(in *workflows.Input) {
			in.ID, in.List, in.Continue = "spring-2", "", &workflows.Continuation{Mailing: "spring-1"}
			change(in.Continue)
		}
	}
	page := func(change func(*workflows.Content)) func(*workflows.Input) {
		return func(in *workflows.Input) {
			in.Content = workflows.Content{PageURL: "https://www.example.com/{{.id}}"}
			change(&in.Content)
		}
	}
	deferral := func(first, most, lasts time.Duration) func(*workflows.Input) {
		return func(in *workflows.Input) {
			in.Deferral = workflows.Deferral{
				First: workflows.Duration(first),
				Most:  workflows.Duration(most),
				For:   workflows.Duration(lasts),
			}
		}
	}
	rates := func(r workflows.Rates) func(*workflows.Input) { return func(in *workflows.Input) { in.Rates = r } }
	headers := func(h map[string]string) func(*workflows.Input) {
		return func(in *workflows.Input) { in.Headers = h }
	}
	many := map[string]string{}
	for i := range 51 {
		many[fmt.Sprint("X-", i)] = "x"
	}
	for name, test := range map[string]struct {
		change func(*workflows.Input)
		want   string // fields with a problem
	}{
		"query":            {query(func(*workflows.Query) {}), ""},
		"query: no source": {query(func(q *workflows.Query) { q.Source = "" }), "query.source"},
		"query: a DSN":     {query(func(q *workflows.Query) { q.Source = "postgres://u:p@db/crm" }), "query.source"},
		"query: blank":     {query(func(q *workflows.Query) { q.SQL = " \n" }), "query.sql"},
		"query: NUL":       {query(func(q *workflows.Query) { q.SQL = "SELECT '\x00'" }), "query.sql"},
		"query: stored":    {query(func(q *workflows.Query) { q.SQL, q.Stored = "", "00ff" }), ""},
		"query: twice":     {query(func(q *workflows.Query) { q.Stored = "00ff" }), "query.stored"},
		"query: shortest":  {query(func(q *workflows.Query) { q.Timeout = workflows.Duration(time.Second) }), ""},
		"query: too short": {query(func(q *workflows.Query) { q.Timeout = workflows.Duration(time.Second - 1) }),
			"query.timeout"},
		"query: longest": {query(func(q *workflows.Query) { q.Timeout = workflows.Duration(6 * time.Hour) }), ""},
		"query: too long": {query(func(q *workflows.Query) { q.Timeout = workflows.Duration(6*time.Hour + 1) }),
			"query.timeout"},
		"two audiences": {func(in *workflows.Input) { in.Query = &workflows.Query{Source: "crm", SQL: "SELECT 1"} },
			"list"},
		"continue":          {again(func(*workflows.Continuation) {}), ""},
		"continue: nothing": {again(func(c *workflows.Continuation) { c.Mailing = "" }), "continue.mailing"},
		"continue: no ID": {again(func(c *workflows.Continuation) { c.Mailing = "a@example.com" }),
			"continue.mailing"},
		"continue: itself": {again(func(c *workflows.Continuation) { c.Mailing = "spring-2" }), "continue.mailing"},
		"continue: all outcomes": {again(func(c *workflows.Continuation) {
			c.Outcomes = []string{"unsent", "failed", "bounced", "uncertain"}
		}), ""},
		"continue: not those": {again(func(c *workflows.Continuation) {
			c.Outcomes = []string{"unsent", "sent", "opted_out", "unsent"}
		}), "continue.outcomes[1] continue.outcomes[2] continue.outcomes[3]"},
		"topic":            {func(in *workflows.Input) { in.Topic = "spring-offers" }, ""},
		"topic: no name":   {func(in *workflows.Input) { in.Topic = "Spring offers" }, "topic"},
		"opt-outs ignored": {func(in *workflows.Input) { in.IgnoreOptOuts = []string{"topic", "list"} }, ""},
		"opt-outs ignored: not those": {func(in *workflows.Input) {
			in.IgnoreOptOuts = []string{"list", "list:people", "list"}
		}, "ignore_opt_outs[1] ignore_opt_outs[2]"},
		"opt-outs ignored: all without a law": {func(in *workflows.Input) { in.IgnoreOptOuts = []string{"all"} },
			"ignore_opt_outs"},
		"opt-outs ignored: all by law": {func(in *workflows.Input) {
			in.IgnoreOptOuts, in.LegallyRequired = []string{"all"}, true
		}, ""},
		"opt-outs ignored: too many": {func(in *workflows.Input) {
			in.IgnoreOptOuts = []string{"list", "topic", "list", "topic"}
		}, "ignore_opt_outs"},
		"a law for nothing":   {func(in *workflows.Input) { in.LegallyRequired = true }, "legally_required"},
		"deferral":            {deferral(10*time.Millisecond, 24*time.Hour, 240*time.Hour), ""},
		"deferral: one pause": {deferral(time.Hour, time.Hour, time.Hour), ""},
		"deferral: too short": {deferral(9*time.Millisecond, time.Hour, time.Hour), "deferral.first"},
		"deferral: too long": {deferral(25*time.Hour, 25*time.Hour, 241*time.Hour),
			"deferral.first deferral.most deferral.for"},
		"deferral: shrinking": {deferral(time.Hour, time.Minute, time.Hour), "deferral.most"},
		"deferral: negative": {deferral(-time.Hour, -time.Hour, -time.Hour),
			"deferral.first deferral.most deferral.for"},
		"error limit": {func(in *workflows.Input) { in.MaxErrorPercent, in.ErrorMinimum = 100, 1 }, ""},
		"error limit: too much": {func(in *workflows.Input) { in.MaxErrorPercent, in.ErrorMinimum = 101, -1 },
			"max_error_percent error_minimum"},
		"error limit: negative": {func(in *workflows.Input) { in.MaxErrorPercent = -1 }, "max_error_percent"},
		"rates": {rates(workflows.Rates{Mailing: "1000/h", DropPoints: map[string]workflows.Rate{"mx": "none"},
			Domains: map[string]workflows.Rate{"gmail.com": "20/s"}}), ""},
		"rates: names": {rates(workflows.Rates{DropPoints: map[string]workflows.Rate{"MX": "1/s"},
			Domains: map[string]workflows.Rate{"a b": "1/s", "GMail.com": "1/s"}}),
			"rates.drop_points.MX rates.domains.GMail.com rates.domains.a b"},
		"headers": {headers(map[string]string{"X-A": "{{.a}}", "Comments": strings.Repeat("x", 4096)}), ""},
		"headers: values": {headers(map[string]string{"X-A": " ", "X-B": "a\r\nb", "X-C": "\x00",
			"X-D": strings.Repeat("x", 4097)}), "headers.X-A headers.X-B headers.X-C headers.X-D"},
		"headers: too many":  {headers(many), "headers"},
		"name":               {func(in *workflows.Input) { in.ToName = "{{.first_name}} {{.last_name}}" }, ""},
		"name: two lines":    {func(in *workflows.Input) { in.ToName = "a\nb" }, "to_name"},
		"name: NUL":          {func(in *workflows.Input) { in.ToName = "\x00" }, "to_name"},
		"name: too long":     {func(in *workflows.Input) { in.ToName = strings.Repeat("x", 4097) }, "to_name"},
		"static":             {func(in *workflows.Input) { in.Content.Static = true }, ""},
		"page":               {page(func(*workflows.Content) {}), ""},
		"page: with a text":  {page(func(c *workflows.Content) { c.Text = "Hello" }), ""},
		"page: with an HTML": {page(func(c *workflows.Content) { c.HTML = "Hello" }), "content.html"},
		"page: static":       {page(func(c *workflows.Content) { c.Static = true }), "content.static"},
		"page: two lines":    {page(func(c *workflows.Content) { c.PageURL += "\r\nHost: x" }), "content.page_url"},
		"page: too long": {page(func(c *workflows.Content) { c.PageURL += strings.Repeat("x", 4096) }),
			"content.page_url"},
		"page: a file": {page(func(c *workflows.Content) { c.PageURL = "file:///etc/passwd" }),
			"content.page_url"},
		"page: host of a recipient": {page(func(c *workflows.Content) { c.PageURL = "{{.url}}" }), "content.page_url"},
		"page: column and hosts": {page(func(c *workflows.Content) {
			*c = workflows.Content{PageColumn: "page", PageHosts: []string{"www.example.com"}}
		}), ""},
		"page: column alone": {page(func(c *workflows.Content) { *c = workflows.Content{PageColumn: "page"} }),
			"content.page_hosts"},
		"page: hosts alone": {page(func(c *workflows.Content) {
			*c = workflows.Content{Text: "x", PageHosts: []string{"www.example.com"}}
		}), "content.page_hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := input()
			test.change(&in)
			var fields []string
			for _, p := range in.Validate() {
				if !slices.Contains(fields, p.Field) {
					fields = append(fields, p.Field)
				}
			}
			if got := strings.Join(fields, " "); got != test.want {
				t.Errorf("got %q, want %q: %v", got, test.want, in.Validate())
			}
		})
	}
}

// An object that is none is one problem, not one for each of its fields too.
func TestAnAudienceThatCannotBeReadIsOneProblem(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`"query": 7`:                                "query",
		`"continue": "spring-1"`:                    "continue",
		`"list": 7`:                                 "list",
		`"list": "people", "deferral": "soon"`:      "deferral",
		`"query": {"source": 5, "sql": "SELECT 1"}`: "query.source",
		`"list": "people", "rates": {"mailing": 5, "domains": [1]}`:     "rates.mailing rates.domains",
		`"list": "people", "max_error_percent": "5%"`:                   "max_error_percent",
		`"continue": {"mailing": "spring-1", "outcomes": "failed"}`:     "continue.outcomes",
		`"query": {"source": "crm", "sql": "SELECT 1", "timeout": 600}`: "query.timeout",
	} {
		var in workflows.Input
		err := json.Unmarshal(
			[]byte(`{"from": "news@example.com", "subject": "x", "content": {"text": "x"}, `+data+`}`),
			&in,
		)
		if err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, p := range in.Validate() {
			fields = append(fields, p.Field)
		}
		if got := strings.Join(fields, " "); got != want {
			t.Errorf("%s: got %v, want %s", data, in.Validate(), want)
		}
	}
}
