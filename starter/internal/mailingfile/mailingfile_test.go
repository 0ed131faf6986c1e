package mailingfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"directmailer/internal/content"
	"directmailer/internal/content/render"
	"directmailer/starter/internal/mailingfile"
	"directmailer/workflows"
)

// folder writes the files into a new folder and returns the path of mailing.yaml in it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "mailing.yaml")
}

func load(t *testing.T, files map[string]string) *mailingfile.File {
	t.Helper()
	f, err := mailingfile.Load(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// faults returns what is wrong with a mailing file, without the folder it is in.
func faults(t *testing.T, files map[string]string) string {
	t.Helper()
	path := folder(t, files)
	f, err := mailingfile.Load(path)
	var fault *mailingfile.Error
	if f != nil || !errors.As(err, &fault) {
		t.Fatalf("got %+v, %v", f, err)
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != len(fault.Faults) {
		t.Errorf("%d faults in %d lines: %q", len(fault.Faults), lines, err)
	}
	return strings.ReplaceAll(err.Error(), filepath.Dir(path)+string(filepath.Separator), "")
}

const short = "from: news@example.com\nsubject: News\nlist: people\n"

func TestEveryFieldOfAnInputCanBeWritten(t *testing.T) {
	t.Parallel()
	f := load(t, map[string]string{
		"mailing.yaml": `%YAML 1.2
---
# a comment
id: spring-2026
from: Example News <news@example.com>
reply_to: "answers@example.com"
envelope_sender: 'bounces@example.com'
to_name: "{{.first_name}} {{.last_name}}"
subject: >-
  Hello
  {{.first_name}}
headers:
  X-Campaign: spring
  Organization: |
    {{.company}}
list:
  name: people
  file: lists/people.csv
topic: news
ignore_opt_outs: [list, all]
legally_required: true
content:
  text_file: parts/newsletter.txt
  html: |
    <p>Hello {{.first_name}}</p>

    <p>Bye</p>
drop_points: [mx1, "mx2"]
batch_size: 250
retry:
  list: {attempts: 3, interval: 1m}
  database:
    attempts: 4
    interval: 20s
  page:
    interval: 10s
    attempts: 6
  drop_point: {attempts: 5, interval: 1h30m}
unsubscribe: none
on_uncertain: hold
on_exhausted: fail
deferral: {first: 10m, most: 2h, for: 48h}
max_error_percent: 5
error_minimum: 200
rates:
  mailing: 1000 per hour
  drop_points: {mx1: 500/s}
  domains:
    gmail.com: 20/s
    "xn--bcher-kva.example": none
not_before: 2026-01-31T09:00:00+01:00
not_after: "2026-02-01T00:00:00Z"
`,
		"parts/newsletter.txt": "\ufeffHello {{.first_name}}\n",
	})
	want := workflows.Input{
		ID:             "spring-2026",
		From:           "Example News <news@example.com>",
		ReplyTo:        "answers@example.com",
		EnvelopeSender: "bounces@example.com",
		ToName:         "{{.first_name}} {{.last_name}}",
		Subject:        "Hello {{.first_name}}",
		Headers:        map[string]string{"X-Campaign": "spring", "Organization": "{{.company}}"},
		List:           "people",
		Topic:          "news",
		IgnoreOptOuts:  []string{"list", "all"}, LegallyRequired: true,
		Content: workflows.Content{
			Text: "Hello {{.first_name}}\n",
			HTML: "<p>Hello {{.first_name}}</p>\n\n<p>Bye</p>\n",
		},
		DropPoints: []string{"mx1", "mx2"},
		BatchSize:  250,
		Retry: workflows.Retries{
			List:      workflows.Retry{Attempts: 3, Interval: workflows.Duration(time.Minute)},
			Database:  workflows.Retry{Attempts: 4, Interval: workflows.Duration(20 * time.Second)},
			Page:      workflows.Retry{Attempts: 6, Interval: workflows.Duration(10 * time.Second)},
			DropPoint: workflows.Retry{Attempts: 5, Interval: workflows.Duration(90 * time.Minute)},
		},
		Unsubscribe: workflows.UnsubscribeNone, OnUncertain: workflows.Hold,
		OnExhausted: workflows.Fail,
		Deferral: workflows.Deferral{
			First: workflows.Duration(10 * time.Minute), Most: workflows.Duration(2 * time.Hour),
			For: workflows.Duration(48 * time.Hour),
		},
		MaxErrorPercent: 5,
		ErrorMinimum:    200,
		Rates: workflows.Rates{
			Mailing: "1000 per hour", DropPoints: map[string]workflows.Rate{"mx1": "500/s"},
			Domains: map[string]workflows.Rate{"gmail.com": "20/s", "xn--bcher-kva.example": "none"},
		},
		NotBefore: f.Input.NotBefore,
		NotAfter:  time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	}
	if !reflect.DeepEqual(f.Input, want) {
		t.Errorf("got  %+v\nwant %+v", f.Input, want)
	}
	if !f.Input.NotBefore.Equal(time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("not before %v", f.Input.NotBefore)
	}
	if want := filepath.Join(filepath.Dir(f.Path), "lists", "people.csv"); f.ListFile != want {
		t.Errorf("the list is in %s, want %s", f.ListFile, want)
	}
	written := map[string]bool{}
	note(written, "", reflect.ValueOf(f.Input))
	for _, other := range otherInputs(t) {
		note(written, "", reflect.ValueOf(other))
	}
	for _, field := range fieldsOf("", reflect.TypeFor[workflows.Input]()) {
		if !written[field] {
			t.Errorf("the test does not write %s", field)
		}
	}
}

// otherInputs have the fields that cannot be beside those of the long one.
func otherInputs(t *testing.T) (read []workflows.Input) {
	t.Helper()
	for _, c := range []struct {
		yaml string
		want workflows.Input
	}{
		{"query:\n  source: crm\n  sql: |\n    SELECT email, first_name\n    FROM people\n  timeout: 90s\n" +
			"content: {text: Hello, static: true}\n", workflows.Input{
			Query: &workflows.Query{Source: "crm", SQL: "SELECT email, first_name\nFROM people\n",
				Timeout: workflows.Duration(90 * time.Second)},
			Content: workflows.Content{Text: "Hello", Static: true},
		}},
		{"continue: {mailing: spring-2026, outcomes: [failed, unsent]}\ncontent: " +
			"{text: Hello, page_url: 'https://www.example.com/{{.id}}'}\n", workflows.Input{
			Continue: &workflows.Continuation{Mailing: "spring-2026", Outcomes: []string{"failed", "unsent"}},
			Content:  workflows.Content{Text: "Hello", PageURL: "https://www.example.com/{{.id}}"},
		}},
		{"list: people\ncontent:\n  static: false\n  page_column: page\n  page_hosts:\n  - www.example.com\n" +
			"  - www.example.com:8080\n", workflows.Input{
			List: "people", Content: workflows.Content{PageColumn: "page",
				PageHosts: []string{"www.example.com", "www.example.com:8080"}},
		}},
	} {
		c.want.From, c.want.Subject = "news@example.com", "News"
		got := load(t, map[string]string{"mailing.yaml": "from: news@example.com\nsubject: News\n" + c.yaml}).Input
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", c.yaml, got, c.want)
		}
		read = append(read, got)
	}
	return read
}

// fieldsOf lists the fields of a struct, and of those in it, by their JSON names.
func fieldsOf(path string, of reflect.Type) (names []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || f.Tag.Get("jsonschema") == "-" || f.Type == reflect.TypeFor[*workflows.Progress]() {
			continue
		}
		t := f.Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]() {
			names = append(names, fieldsOf(path+name+".", t)...)
		} else {
			names = append(names, path+name)
		}
	}
	return names
}

// note marks the fields of v that are not zero.
func note(written map[string]bool, path string, v reflect.Value) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		if name == "" || f.IsZero() {
			continue
		}
		written[path+name] = true
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]() {
			note(written, path+name+".", f)
		}
	}
}

func TestTheListMayBeANameAlone(t *testing.T) {
	t.Parallel()
	f := load(t, map[string]string{"mailing.yaml": short + "content: {text: Hello}\n"})
	if f.Input.List != "people" || f.ListFile != "" || f.Input.Content.Text != "Hello" {
		t.Errorf("got %+v", f)
	}
}

func TestAFileFromWindowsIsReadAsAnyOther(t *testing.T) {
	t.Parallel()
	const text = "from: news@example.com\r\nsubject: \"Spring\r\n  news\"\r\nlist: people\r\n%scontent:\r\n  text: |\r\n" +
		"    a\r\n    b\r\n"
	f := load(t, map[string]string{"mailing.yaml": fmt.Sprintf(text, "")})
	if f.Input.Subject != "Spring news" || f.Input.Content.Text != "a\nb\n" {
		t.Errorf("got %+v", f.Input)
	}
	got := faults(t, map[string]string{"mailing.yaml": fmt.Sprintf(text, "form: x\r\n")})
	if got != "mailing.yaml:5:1: form: is not a field of a mailing" {
		t.Errorf("got %s", got)
	}
}

func TestFieldsWithoutValueAreAsIfLeftOut(t *testing.T) {
	t.Parallel()
	f := load(
		t,
		map[string]string{
			"mailing.yaml": short + "content: {text: Hello, html: ~}\nreply_to:\nretry:\nbatch_size: null\nnot_after:\n",
		},
	)
	want := workflows.Input{
		From:    "news@example.com",
		Subject: "News",
		List:    "people",
		Content: workflows.Content{Text: "Hello"},
	}
	if !reflect.DeepEqual(f.Input, want) {
		t.Errorf("got %+v", f.Input)
	}
}

func TestAPathInTheMailingFileIsRelativeToItUnlessAbsolute(t *testing.T) {
	t.Parallel()
	other := filepath.Join(t.TempDir(), "people.csv")
	f := load(t, map[string]string{
		"mailing.yaml": "from: news@example.com\nsubject: News\nlist: {name: people, file: " + other +
			"}\ncontent: {text_file: ./a/../newsletter.txt}\n", "newsletter.txt": "Hello", "a/x": "",
	})
	if f.ListFile != other || f.Input.Content.Text != "Hello" {
		t.Errorf("got %+v", f)
	}
}

func TestEveryFaultIsReportedAtOnceInOneLineWithItsPlace(t *testing.T) {
	t.Parallel()
	got := faults(t, map[string]string{"mailing.yaml": `form: news@example.com
from: nobody
subject: 2026
list: [people]
content:
  text_file: missing.txt
  markdown: x
drop_points: [mx1, 5, mx1, "MX 2"]
batch_size: 12.5
retry:
  list: {attempts: 0, interval: fast}
  page: 3
  drop_point:
    attempts: 5000
    pause: 1s
on_uncertain: perhaps
not_before: tomorrow
not_after: 2026-02-01
resume: {}
query:
  source: crm
  stored: 00ff
`})
	want := `mailing.yaml:1:1: form: is not a field of a mailing
mailing.yaml:2:7: from: has no @
mailing.yaml:3:10: subject: must be a text: put it in quotes
mailing.yaml:4:7: list: must be a text: put it in quotes
mailing.yaml:6:14: content.text_file: missing.txt: there is no such file
mailing.yaml:7:3: content.markdown: is not a field of a mailing
mailing.yaml:8:20: drop_points[1]: must be a text: put it in quotes
mailing.yaml:8:23: drop_points[2]: is there twice
mailing.yaml:8:28: drop_points[3]: must name a drop point: up to 63 lower-case letters and digits, ` +
		`` +
		`with single - or _ between them
mailing.yaml:9:13: batch_size: must be a whole number
mailing.yaml:11:20: retry.list.attempts: must not be 0: leave it out for the default
mailing.yaml:11:33: retry.list.interval: must be a duration such as "30s" or "5m"
mailing.yaml:12:9: retry.page: must have fields of its own: attempts, interval
mailing.yaml:14:15: retry.drop_point.attempts: must be 1 to 1000
mailing.yaml:15:5: retry.drop_point.pause: is not a field of a mailing
mailing.yaml:16:15: on_uncertain: must be resend or hold
mailing.yaml:17:13: not_before: must be a time such as 2026-01-31T09:00:00Z
mailing.yaml:18:12: not_after: must be a time such as 2026-01-31T09:00:00Z
mailing.yaml:19:1: resume: is not a field of a mailing
mailing.yaml:20:1: query.sql: is missing
mailing.yaml:22:3: query.stored: is not a field of a mailing`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAFaultSaysWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	const content = "content: {text: Hello}\n"
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf(
			"%c: &%c [%s]\n",
			c,
			c,
			strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","),
		)
	}
	for name, test := range map[string]struct{ text, want string }{
		"empty":         {"", "mailing.yaml: is empty"},
		"comments only": {"# a mailing\n", "mailing.yaml: is empty"},
		"null":          {"~\n", "mailing.yaml: is empty"},
		"mark only":     {"\ufeff", "mailing.yaml: is empty"},
		"a text":        {"Hello\n", "mailing.yaml:1:1: is no mailing"},
		"a list":        {"- from: x\n", "mailing.yaml:1:1: is no mailing"},
		"two documents": {short + content + "---\n" + short, "mailing.yaml:6:1: a second document begins here"},
		"not UTF-8":     {short + "reply_to: caf\xe9\n", "mailing.yaml: is not UTF-8 (line 4): save it as UTF-8"},
		"NUL":           {"f\x00r\x00", "mailing.yaml: has a NUL character (line 1)"},
		"too long":      {strings.Repeat("# long\n", 1<<20), "mailing.yaml: is longer than 2 MiB"},
		"given twice":   {short + "from: a@example.com\n" + content, "mailing.yaml:4:1: from: is given twice"},
		"open quotes":   {"from: \"news\n", "mailing.yaml:1:7: a quotation mark opens here, and none closes it"},
		"open brace": {"content: {\n",
			"mailing.yaml:1:10: { opens here, and nothing closes it: a text that begins with {"},
		"tab": {"content:\n\ttext: x\n",
			"mailing.yaml:2:1: a tab stands here: YAML is indented with blanks only"},
		"template": {"subject: {{.first_name}}, hello\n",
			`mailing.yaml:1:10: is not a field and its value: a text that begins with { [ & * ! | > @ or %, or has ": ` +
				`" or " #" in it, must be in quotes`},
		"colon": {"subject: News: today\n",
			`mailing.yaml:1:14: a second ": " stands in this value, or the line is indented too far: a text that begins`},
		"open list": {"drop_points: [a,\n  b\nsubject: x\n",
			"mailing.yaml:1:14: what begins here with [ is no list and no fields"},
		"bracket in text": {"subject: [Spring] news\n",
			"mailing.yaml:1:19: is not a field and its value: a text that begins with {"},
		"template alone": {"subject: {{.first_name}}\nfrom: news@example.com\nlist: people\n" + content,
			"mailing.yaml:1:10: subject: must be a text: put it in quotes"},
		"at sign":       {"from: @news\n", "mailing.yaml:1:7: a text must not begin with @: put it in quotes"},
		"tab in a text": {"content:\n  text: |\n    a\n  \tb: c\n", "mailing.yaml:4:3: a tab stands here"},
		"indented": {"from: a@example.com\n subject: x\n",
			"mailing.yaml:2:9: a second \": \" stands in this value, or the line is indented too far"},
		"no colon": {"from: a@example.com\nsubject\nlist: people\n",
			"mailing.yaml:2:1: has no \": \" after a field's name"},
		"escape":           {"subject: \"50\\% off\"\n", "mailing.yaml:1:13: is not an escape sequence"},
		"unknown alias":    {"from: *x\n", "mailing.yaml:1:7: has an anchor, an alias or a tag"},
		"list and a field": {"- a\nb: c\n", "mailing.yaml:2:1: is not an item of the list above"},
		"name is a list":   {short + content + "[a, b]: c\n", "mailing.yaml:5:1: a field's name must be a plain text"},
		"part given twice": {short + "content: {text: a, html_file: a, html_file: b}\n",
			"mailing.yaml:4:34: content.html_file: is given twice"},
		"list's name is 5": {"from: news@example.com\nsubject: News\nlist: {name: 5, file: people.csv, x: 1}\n" + content,
			"mailing.yaml:3:14: list.name: must be a text: put it in quotes\nmailing.yaml:3:35: list.x: " +
				"is not a field of a mailing"},
		"misread": {short + content + "misread: [{field: a, message: b}]\n",
			"mailing.yaml:5:1: misread: is not a field of a mailing"},
		"test":       {short + content + "test: true\n", "mailing.yaml:5:1: test: is not a field of a mailing"},
		"a blank":    {short + content + "' test': true\n", "mailing.yaml:5:1: test: is not a field of a mailing"},
		"a line end": {short + content + "\"test\\n\": true\n", "mailing.yaml:5:1: test: is not a field of a mailing"},
		"a fraction": {short + content + "batch_size: 1e3\n", "mailing.yaml:5:13: batch_size: must be a whole number"},
		"a huge number": {short + content + "batch_size: 99999999999999999999999\n",
			"mailing.yaml:5:13: batch_size: must be a whole number"},
		"after accents": {short + "content: {text: 'Zoë ü', static: 5}\n",
			"mailing.yaml:4:34: content.static: must be true or false"},
		"alias bomb": {bomb, "mailing.yaml:1:1: a: is not a field of a mailing\n"},
		"alias": {"from: &x news@example.com\nreply_to: *x\nsubject: News\nlist: people\n" + content,
			"mailing.yaml:1:7: from: has an anchor, an alias or a tag (&, *, !): write the value itself, " +
				"or put the text in quotes\nmailing.yaml:2:11: reply_to: has an"},
		"alias of content": {short + "content: *x\n", "mailing.yaml:4:10: has an anchor"},
		"merge": {short + content + "<<: {reply_to: a@example.com}\n",
			"mailing.yaml:5:1: <<: is not a field of a mailing"},
		"tag": {short + content + "batch_size: !!int 5\n", "mailing.yaml:5:13: batch_size: has an anchor"},
		"number too large": {short + content + "batch_size: 9223372036854775807\n",
			"mailing.yaml:5:13: batch_size: must be 1 to 5000"},
		"wrapping number": {short + content + "batch_size: 18446744073709551615\n",
			"mailing.yaml:5:13: batch_size: must be 1 to 5000"},
		"no content":    {short, "mailing.yaml: content: is empty"},
		"empty content": {short + "content:\n", "mailing.yaml:4:1: content: is empty"},
		"empty part":    {short + "content:\n  html: ''\n", "mailing.yaml:4:1: content: is empty"},
		"content a text": {short + "content: Hello\n",
			"mailing.yaml:4:10: content: must have fields of its own: text, html, static, page_url, page_column, page_hosts"},
		"both": {short + "content: {text: Hello, text_file: newsletter.txt}\n",
			"mailing.yaml:4:35: content.text_file: is there besides content.text"},
		"file is a folder": {short + "content: {html_file: .}\n", "is not a file"},
		"file is Latin-1": {short + "content: {html_file: latin1.html}\n",
			"mailing.yaml:4:22: content.html_file: latin1.html: is not UTF-8 (line 2): save it as UTF-8"},
		"file too long": {short + "content: {html_file: long.html}\n",
			"mailing.yaml:4:22: content.html_file: long.html: is longer than 1 MiB"},
		"file's odd name": {short + "content: {html_file: \"a\\nb\"}\n", `a\nb": there is no such file`},
		"absolute file": {short + "content: {html_file: /etc/passwd}\n",
			"mailing.yaml:4:22: content.html_file: /etc/passwd: is not in the folder of the mailing file: put it there"},
		"file above":     {short + "content: {html_file: ../newsletter.txt}\n", "is not in the folder of the mailing file"},
		"no file's name": {short + "content: {html_file: ''}\n", "mailing.yaml:4:22: content.html_file: names no file"},
		"no list's file": {"from: news@example.com\nsubject: News\nlist: {name: people, file: ''}\n" + content,
			"mailing.yaml:3:28: list.file: names no file"},
		"no list's name": {"from: news@example.com\nsubject: News\nlist: {file: people.csv}\n" + content,
			"mailing.yaml:3:1: list: must name a list"},
		"bad list's name": {"from: news@example.com\nsubject: News\nlist: {name: A List, file: people.csv}\n" + content,
			"mailing.yaml:3:14: list: must name a list"},
		"line break": {"from: news@example.com\nsubject: \"News\\r\\nBcc: x@example.com\"\nlist: people\n" + content,
			"mailing.yaml:2:10: subject: has a line break"},
		"zero interval": {short + content + "retry: {page: {interval: 0s}}\n",
			"mailing.yaml:5:26: retry.page.interval: must not be zero"},
		"query a text": {strings.Replace(short, "list: people", "query: SELECT 1", 1) + content,
			"mailing.yaml:3:8: query: must have fields of its own"},
		"query's source": {strings.Replace(short, "list: people", "query:\n  source: CRM\n  sql: SELECT 1", 1) + content,
			"mailing.yaml:4:11: query.source: must name a source database"},
		"query's field": {strings.Replace(short, "list: people", "query:\n  source: crm\n  sql: SELECT 1\n  dsn: x", 1) +
			content, "mailing.yaml:6:3: query.dsn: is not a field of a mailing"},
		"no SQL": {strings.Replace(short, "list: people", "query: {source: crm}", 1) + content,
			"mailing.yaml:3:1: query.sql: is missing"},
		"query and list": {short + "query: {source: crm, sql: SELECT 1}\n" + content,
			"mailing.yaml:3:7: list: only one of list, query and continue"},
		"nobody to send": {strings.Replace(short, "list: people\n", "", 1) + content,
			"mailing.yaml: list: must name a list, unless query or continue says"},
		"bad outcome": {strings.Replace(short, "list: people", "continue: {mailing: spring-1, outcomes: [failed, sent]}", 1) +
			content, "mailing.yaml:3:50: continue.outcomes[1]: must be unsent, failed, bounced or uncertain"},
		"outcome a number": {strings.Replace(short, "list: people", "continue: {mailing: spring-1, outcomes: [5]}", 1) +
			content, "mailing.yaml:3:42: continue.outcomes[0]: must be a text: put it in quotes"},
		"deferral": {short + content + "deferral: {first: soon, most: 25h}\n",
			"mailing.yaml:5:19: deferral.first: must be a duration such as \"30s\" or \"5m\"\n" +
				"mailing.yaml:5:31: deferral.most: must not be shorter"},
		"error limit": {short + content + "max_error_percent: 5%\nerror_minimum: 0\n",
			"mailing.yaml:5:20: max_error_percent: must be a whole number\nmailing.yaml:6:16: error_minimum: must not be 0"},
		"rate a number": {short + content + "rates: {mailing: 20}\n",
			"mailing.yaml:5:18: rates.mailing: must be a rate such as 20/s, 500/min or none"},
		"rates a text": {short + content + "rates:\n  domains: 20/s\n",
			"mailing.yaml:6:12: rates.domains: must have fields of its own"},
		"rate of nobody": {short + content + "rates:\n  domains:\n    gmail.com: 20/s\n    GMX.de: 1/s\n    example.org:\n",
			"mailing.yaml:8:13: rates.domains.GMX.de: must be written as gmx.de\nmailing.yaml:9:5: rates.domains.example.org: " +
				"must be a rate"},
		"static a text": {short + "content: {text: Hello, static: 'yes'}\n",
			"mailing.yaml:4:32: content.static: must be true or false"},
		"page and HTML": {short + "content:\n  page_url: https://www.example.com/\n  html_file: latin1.html\n",
			"mailing.yaml:6:14: content.html_file: latin1.html: is not UTF-8"},
		"page and a part": {short + "content:\n  page_url: https://www.example.com/\n  html: x\n",
			"mailing.yaml:6:9: content.html: is there besides a page"},
		"page's host": {short + "content: {page_column: page}\n",
			"mailing.yaml:4:1: content.page_hosts: are needed with page_column"},
		"page's scheme": {short + "content: {page_url: ftp://www.example.com/}\n",
			"mailing.yaml:4:21: content.page_url: must begin with http:// or https://"},
		"hosts a text": {short + "content: {page_url: 'https://www.example.com/', page_hosts: www.example.com}\n",
			"mailing.yaml:4:61: content.page_hosts: must be a list, as in"},
		"times in reverse": {short + content + "not_before: 2026-02-01T00:00:00Z\nnot_after: 2026-01-01T00:00:00Z\n",
			"mailing.yaml:6:12: not_after: must be later than not_before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := faults(t, map[string]string{
				"mailing.yaml": test.text, "newsletter.txt": "Hello", "latin1.html": "<p>\ncaf\xe9",
				"long.html": strings.Repeat("x", 1<<20+1),
			})
			if strings.HasPrefix(test.want, "mailing.yaml") && !strings.HasPrefix(got, test.want) ||
				!strings.Contains(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestNestingDoesNotKeepTheParserBusy(t *testing.T) {
	t.Parallel()
	for part, want := range map[string]string{
		"[": "too many fields and values", "{a: ": "too many fields and values", "- ": "too many fields and values",
		"? ": "too many fields and values", "a: [b,": "too many fields and values", "x: 1\n": "too many fields and values",
		"&a ": "mailing.yaml:1:4: ", // one value has one anchor at most
	} {
		began := time.Now()
		got := faults(t, map[string]string{"mailing.yaml": strings.Repeat(part, 128<<10/len(part))})
		if took := time.Since(began); !strings.Contains(got, want) || took > time.Minute {
			t.Errorf("%q: %.200s, after %v", part, got, took)
		}
	}
}

func TestAMailingFileThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.yaml"): "missing.yaml: there is no such file",
		dir:                                ": is not a file",
		"bad\x1b[31m.yaml":                 `"bad\x1b[31m.yaml": there is no such file`,
	} {
		if _, err := mailingfile.Load(path); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", path, err, want)
		}
	}
}

func TestProblemsAreLocatedInTheFileThatHasThem(t *testing.T) {
	t.Parallel()
	f := load(t, map[string]string{
		"mailing.yaml": `from: news@example.com
subject: Hello {{.first_name}}
list: {name: people, file: people.csv}
content:
  text: |2-

      Hello
    {{.first_name}}
  html_file: parts/newsletter.html
drop_points:
  - mx1
  - mx2
retry:
  page: {attempts: 2}
`,
		"parts/newsletter.html": "<p>\n{{.first_name}}\n",
	})
	for _, test := range []struct {
		field        string
		line, column int
		want         string
	}{
		{"from", 0, 0, "mailing.yaml:1:7"},
		{"subject", 1, 7, "mailing.yaml:2:10"},
		{"list", 0, 0, "mailing.yaml:3:14"},
		{"list.file", 0, 0, "mailing.yaml:3:28"},
		{"content", 0, 0, "mailing.yaml:4:1"},
		{"content.text", 0, 0, "mailing.yaml:5:9"},
		{"content.text", 2, 3, "mailing.yaml:7:7"},
		{"content.text", 3, 1, "mailing.yaml:8:5"},
		{"content.text", 3, 0, "mailing.yaml:8"},
		{"content.html", 0, 0, "parts/newsletter.html"},
		{"content.html", 2, 0, "parts/newsletter.html:2"},
		{"content.html", 2, 3, "parts/newsletter.html:2:3"},
		{"content.html_file", 0, 0, "mailing.yaml:9:14"},
		{"drop_points", 0, 0, "mailing.yaml:10:1"},
		{"drop_points[1]", 0, 0, "mailing.yaml:12:5"},
		{"retry.page.attempts", 0, 0, "mailing.yaml:14:20"},
		{"retry.page.interval", 0, 0, "mailing.yaml:14:3"},
		{"retry.list.interval", 0, 0, "mailing.yaml:13:1"},
		{"batch_size", 0, 0, "mailing.yaml"},
		{"list_id", 0, 0, "mailing.yaml"},
	} {
		got := strings.TrimPrefix(
			f.Locate(test.field, test.line, test.column),
			filepath.Dir(f.Path)+string(filepath.Separator),
		)
		if filepath.ToSlash(got) != test.want {
			t.Errorf("%s %d:%d is in %s, want %s", test.field, test.line, test.column, got, test.want)
		}
	}
}

func TestAFaultOfATemplateIsLocatedWhereItIsWritten(t *testing.T) {
	t.Parallel()
	f := load(t, map[string]string{
		"mailing.yaml": short + "content:\n  html_file: newsletter.html\n  text: |\n    Hello\n" +
			"    {{.first_name | shout}}\n",
		"newsletter.html": "<p>\n  {{if .x}}\n</p>\n",
	})
	_, problems := render.Compile(render.Spec{
		Mailing: "m", From: f.Input.From, Subject: f.Input.Subject, Text: f.Input.Content.Text, HTML: f.Input.Content.HTML,
		Date: time.Unix(0, 0),
	})
	var got []string
	for _, p := range problems {
		got = append(got, filepath.Base(f.Locate(p.Field, p.Line, p.Column)))
	}
	if strings.Join(got, " ") != "mailing.yaml:8:5 newsletter.html:2:3" {
		t.Errorf("got %v of %+v", got, problems)
	}
}

func TestTheExamplesAreMailings(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", "examples", "*.yaml"))
	if err != nil || len(paths) < 2 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		f, err := mailingfile.Load(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if f.Input.Query != nil { // needs no file
			continue
		}
		if _, err := os.Stat(f.ListFile); err != nil || f.Input.Content.Text == "" ||
			f.Input.Content.HTML == "" && f.Input.Content.PageURL == "" {
			t.Errorf("list in %s (%v), content %+v", f.ListFile, err, f.Input.Content)
		}
	}
}

// FuzzLoad: whatever the file, there is a valid input or one line for each fault.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(short + "content: {text: Hello}\n"))
	f.Add([]byte("list: {name: a, file: b}\ncontent:\n  html: |\n    x\n\n   y\ndrop_points: [a, *b]\n"))
	f.Add([]byte("? a\n: !!x &y [\n"))
	path := filepath.Join(f.TempDir(), "mailing.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := mailingfile.Load(path)
		var fault *mailingfile.Error
		switch {
		case err == nil:
			if problems := file.Input.Validate(); len(problems) > 0 {
				t.Errorf("%q: %v", data, problems)
			}
		case !errors.As(err, &fault) || len(fault.Faults) == 0 || strings.Count(err.Error(), "\n")+1 != len(fault.Faults):
			t.Errorf("%q: %q", data, err)
		}
	})
}

func TestTheContentOfTheExamplesHasNoProblem(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", "examples", "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		f, err := mailingfile.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Input.ID = "example"
		for _, p := range content.Check(f.Input) {
			t.Errorf("%s: %v", path, p.Error())
		}
	}
}
