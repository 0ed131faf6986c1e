package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// dryRun is what `start --dry-run --output json` says.
type dryRun struct {
	Mailing, Audience                         string
	Counted                                   bool
	Members, Rejected, Duplicates, Recipients int
	OptedOut                                  int `json:"opted_out"`
	Sendable                                  int
	Domains                                   []domain
	DomainsInAll                              int    `json:"domains_in_all"`
	BouncesTo                                 string `json:"bounces_to"`
}

type domain struct {
	Domain     string
	Recipients int
}

func TestADryRunChecksAndCountsAndStartsNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.run("optout", "add", "c@example.org").want(t, 0)
	id := newID(t)
	want := dryRun{
		Mailing:      id,
		Audience:     "people",
		Counted:      true,
		Members:      4,
		Rejected:     1,
		Duplicates:   1,
		Recipients:   3,
		OptedOut:     1,
		Sendable:     2,
		Domains:      []domain{{"example.com", 2}},
		DomainsInAll: 1,
		BouncesTo:    "news@example.com",
	}
	var got dryRun
	s.run("start", "-f", "letter.yaml", "--id", id, "--dry-run", "--output", "json").
		wantError(t, 3, "people.csv:5: the address has no @", "leaves out 1 row").
		decode(t, &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("from the file: %+v, want %+v", got, want)
	}
	s.run("start", "-f", "letter.yaml", "--id", id, "--dry-run").
		want(t, 3, "would be sent", "example.com", "nothing was started")
	s.with("DM_BOUNCE_DOMAIN", "bounce.example.com").run("start", "-f", "letter.yaml", "--id", id, "--dry-run").
		want(t, 3, "bounces go to", "b-*@bounce.example.com")
	s.run("list", "ls", "--output", "json").want(t, 0, "[]")
	s.run("ls", "--output", "json").want(t, 0, "[]")

	s.run("list", "import", "people", "people.csv").want(t, 3)
	s.write("letter.yaml", strings.Replace(letter, "  file: people.csv\n", "", 1))
	want.Rejected = 0
	got = dryRun{}
	s.run("start", "-f", "letter.yaml", "--id", id, "--dry-run", "--output", "json").want(t, 0).decode(t, &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("from the stored list: %+v, want %+v", got, want)
	}
	s.run("list", "delete", "people").
		wantError(t, 2, "Delete the list people with 4 members? Nothing was done: answer with --yes")
	s.run("list", "show", "people").want(t, 0)
	s.run("list", "delete", "people", "--yes").want(t, 0, "list people is deleted")
	s.run("start", "-f", "letter.yaml", "--id", id, "--dry-run").wantError(t, 4, "no list is named people")
	s.write("letter.txt", "{{.plan")
	s.run("start", "-f", "letter.yaml", "--id", id, "--dry-run").wantError(t, 2, "letter.txt:1")
}

func TestADryRunCountsAQueryAndAContinuation(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.createSource()
	s.writeQueryLetter(query)
	id := newID(t)
	var got dryRun
	s.run("start", "-f", "letter.yaml", "--id", id, "--dry-run", "--output", "json").want(t, 0).decode(t, &got)
	if got.Recipients != 2 || got.Audience != "query:crm" || len(got.Domains) != 1 {
		t.Errorf("from the query: %+v", got)
	}
	got = dryRun{}
	other := s.with("DM_SOURCES", "")
	other.run("start", "-f", "letter.yaml", "--id", id, "--dry-run", "--output", "json").want(t, 0).decode(t, &got)
	if got.Counted || got.Recipients != 0 {
		t.Errorf("without the source: %+v", got)
	}
	other.run("start", "-f", "letter.yaml", "--id", id, "--dry-run").want(t, 0, "not counted")

	earlier := s.startCancelled()
	got = dryRun{}
	s.run("start", "--continue", earlier, "--dry-run", "--output", "json").want(t, 0).decode(t, &got)
	if got.Recipients == 0 || got.Audience != "continue:"+earlier || got.Mailing != earlier+"-2" {
		t.Errorf("from the continuation: %+v", got)
	}
	s.run("show", earlier+"-2").wantError(t, 4)
}

func TestStartSaysWhereTheWebUIShowsTheMailing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.write("people.csv", "email,first_name,plan\na@example.com,Ann,free\n")
	s.env["DM_WEB_UI"] = "https://ui.example.com/"
	one, two := newID(t)+"-a", newID(t)+"-b"
	s.run("start", "-f", "letter.yaml", "--id", one).
		want(t, 0, "https://ui.example.com/namespaces/default/workflows/"+one, "starter watch "+one)
	var got struct {
		Mailing, Audience string
		WebUI             string `json:"web_ui"`
	}
	s.run("mailing", "start", "-f", "letter.yaml", "--id", two, "--output", "json").want(t, 0).decode(t, &got)
	if got.Mailing != two || got.Audience != "people" || !strings.HasSuffix(got.WebUI, "/workflows/"+two) {
		t.Errorf("%+v", got)
	}
	s.with("DM_WEB_UI", "").run("mailing", "show", one).want(t, 0, "started")
}

func TestAPreviewOpensInABrowser(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	opened := filepath.Join(s.dir, "opened")
	browser := s.write("browser", "#!/bin/sh\nprintf '%s' \"$1\" > "+opened+".tmp && mv "+opened+".tmp "+opened+"\n")
	if err := os.Chmod(browser, 0o700); err != nil {
		t.Fatal(err)
	}
	s.with("BROWSER", browser).
		run("preview", "-f", "letter.yaml", "--open", "--output-dir", "previews").
		want(t, 0, "previews/")
	var path []byte
	eventually(t, "the browser is started", func() bool {
		var err error
		path, err = os.ReadFile(opened)
		return err == nil
	})
	page, err := os.ReadFile(string(path))
	if err != nil || !strings.Contains(string(page), "<iframe sandbox") ||
		!strings.Contains(string(page), "To: a@example.com") {
		t.Errorf("%s: %v\n%s", path, err, page)
	}
	s.with("BROWSER", s.dir+"/nowhere").
		run("preview", "-f", "letter.yaml", "--open", "--output-dir", "previews").
		wantError(t, 1, "no browser was opened")
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.env["DATABASE_URL_FILE"], s.env["DATABASE_URL"] = s.write("database", s.rig.DatabaseURL+"\n"), ""
	s.env["DM_DROP_POINTS_FILE"], s.env["DM_DROP_POINTS"] = s.write("drop-points", "drop=dir:"+s.mkdir("mail")+"\n"), ""
	s.writeLetter()
	s.worker()
	s.run("start", "-f", "letter.yaml", "--id", newID(t), "--watch").want(t, 3, "completed 100%")
	s.with("DATABASE_URL", s.rig.DatabaseURL).
		run("ls").
		wantError(t, 2, "DATABASE_URL and DATABASE_URL_FILE are both set")
}

func TestACheckOfNoDropPointIsNotASuccess(t *testing.T) {
	t.Parallel()
	s := newShell(t).with("DM_DROP_POINTS", "")
	s.run("check").want(t, 8, "not checked", "DM_DROP_POINTS is not set in this shell")
	s.with("TEMPORAL_NAMESPACE", "nosuch").run("check").wantError(t, 8, "not usable: Temporal, workers")
	s.with("TEMPORAL_NAMESPACE", "nosuch").run("cancel", "x").wantError(t, 7, `Temporal has no namespace "nosuch"`)
	s.with("TEMPORAL_PROFILE", "nosuch").run("cancel", "x").wantError(t, 2, "read the settings for Temporal")
}
