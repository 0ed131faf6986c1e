package config_test

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"directmailer/internal/config"
)

// These tests set variables of the process, so they run one after the other.

// environment sets what is given and unsets every other variable that is ours.
func environment(t *testing.T, given map[string]string) {
	t.Helper()
	var names []string
	for _, v := range append(config.Variables(config.Worker{}), config.Variables(config.Starter{})...) {
		names = append(names, v.Name, v.Name+"_FILE")
	}
	for _, name := range names {
		t.Setenv(name, given[name]) // restores it afterwards
		if _, ok := given[name]; !ok {
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAWorkerNeedsADatabaseAndDropPointsAndNothingElse(t *testing.T) {
	environment(
		t,
		map[string]string{"DATABASE_URL": "postgres://127.0.0.1/mail", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:2525"},
	)
	w, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	if w.TaskQueue != "direct-mailer" || w.MaxBatches != config.DefaultMaxBatches || w.StopTimeout != 30*time.Second ||
		w.LogLevel != slog.LevelInfo ||
		w.LogFormat != "text" ||
		w.HealthAddress != "" {
		t.Errorf("got %+v", w)
	}
	environment(t, nil)
	_, err = config.LoadWorker()
	wantLines(t, err,
		"DATABASE_URL is not set: set it to postgres://user:password@host:5432/database",
		"DM_DROP_POINTS is not set: set it to name=url, for example mx=smtp://mail.example.com")
	if s, err := config.LoadStarter(); err != nil || s.TaskQueue != "direct-mailer" || len(s.DropPoints) > 0 {
		t.Errorf("a starter without settings: %+v, %v", s, err)
	}
}

const notNamed = " is not name=url, such as mx=smtp://mail.example.com: entries are separated by blanks, " +
	"so write a blank in a password as %20"

// wantLines checks that the error has exactly these lines, in any order.
func wantLines(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("there is no error, want %q", want)
	}
	left := map[string]bool{}
	for _, line := range strings.Split(err.Error(), "\n") {
		if left[line] {
			t.Errorf("said twice: %s", line)
		}
		left[line] = true
	}
	for _, line := range want {
		if !left[line] {
			t.Errorf("not said: %s", line)
		}
		delete(left, line)
	}
	for line := range left {
		t.Errorf("also said: %s", line)
	}
}

func TestEveryProblemIsReportedAtOnceByItsVariable(t *testing.T) {
	environment(t, map[string]string{
		"DATABASE_URL": "", "DM_DROP_POINTS": "mx=ftp://127.0.0.1", "DM_MAX_BATCHES": "many", "DM_STOP_TIMEOUT": "soon",
		"DM_LOG_LEVEL": "LOUD", "DM_LOG_FORMAT": "xml",
	})
	_, err := config.LoadWorker()
	wantLines(t, err,
		"DATABASE_URL is empty: set it to postgres://user:password@host:5432/database",
		"DM_DROP_POINTS: drop point mx: its URL must begin with dir:, smtp:// or smtps://",
		"DM_MAX_BATCHES is not a whole number",
		"DM_STOP_TIMEOUT is not a duration such as 30s",
		"DM_LOG_LEVEL is not a log level: DEBUG, INFO, WARN or ERROR",
		"DM_LOG_FORMAT is neither text nor json")
}

func TestNumbersHaveBounds(t *testing.T) {
	for _, n := range []string{"0", "-1", "1001"} {
		environment(
			t,
			map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25", "DM_MAX_BATCHES": n},
		)
		_, err := config.LoadWorker()
		wantLines(t, err, "DM_MAX_BATCHES is "+n+": set it to 1 to 1000")
	}
	environment(
		t,
		map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25", "DM_STOP_TIMEOUT": "-1s"},
	)
	_, err := config.LoadWorker()
	wantLines(t, err, "DM_STOP_TIMEOUT is negative: set it to a duration such as 30s")
}

func TestDropPointsAreSeparatedByBlanksAndLineBreaks(t *testing.T) {
	environment(
		t,
		map[string]string{
			"DATABASE_URL":   "x",
			"DM_DROP_POINTS": "\n  mx1=smtp://127.0.0.1:2525?connections=2&messages=0 \t\r\n\n mx2=smtps://mail.example.com\n",
		},
	)
	w, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	if len(w.DropPoints) != 2 || w.DropPoints[0].Name != "mx1" || w.DropPoints[0].Connections != 2 ||
		w.DropPoints[1].String() != "smtps://mail.example.com:465" {
		t.Errorf("got %v", w.DropPoints)
	}
}

func TestAWorkerWithoutAnyDropPointIsRefused(t *testing.T) {
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": " \n\t "})
	_, err := config.LoadWorker()
	wantLines(
		t,
		err,
		"DM_DROP_POINTS: there is no drop point in it: set it to name=url, for example mx=smtp://mail.example.com",
	)
}

func TestErrorsHoldNoCredentials(t *testing.T) {
	const user, password = "secret-user", "secret-word"
	at := user + ":" + password + "@127.0.0.1:25"
	for _, points := range []string{
		"smtp://" + at, "smtp://" + at + "?hello=x", "mx=smpt://" + at, "mx=smtp://" + at + "x",
		"mx=smtp://" + at + "?" + "connections=" + password,
		"mx=smtp://" + user + ":" + "%zz" + password + "@h", "mx=smtp://" + at + " mx=smtp://" + at,
		"mx=smtp://" + at + "?tls=" + password, "mx = smtp://" + at,
		"mx=smtp://" + user + ":secret word@127.0.0.1", "mx=smtp://:" + password + "@127.0.0.1",
	} {
		environment(t, map[string]string{"DATABASE_URL": "postgres://" + at + "/mail", "DM_DROP_POINTS": points})
		w, err := config.LoadWorker()
		if err == nil {
			t.Errorf("%s was taken", points)
			continue
		}
		if text := err.Error(); strings.Contains(text, "secret") || !strings.Contains(text, "DM_DROP_POINTS") {
			t.Errorf("%s: %s", points, text)
		}
		if text := fmt.Sprintf("%v %+v %#v", w.DropPoints, w.DropPoints, w.DropPoints); strings.Contains(
			text,
			"secret",
		) {
			t.Errorf("%s: shown as %s", points, text)
		}
	}
}

func TestEveryBadDropPointIsNamedAtOnce(t *testing.T) {
	environment(
		t,
		map[string]string{
			"DATABASE_URL":   "x",
			"DM_DROP_POINTS": "mx1=ftp://127.0.0.1 mx2 mx3=smtp://127.0.0.1:25 mx3=smtp://127.0.0.1:26 Mx4=dir:/tmp",
		},
	)
	_, err := config.LoadWorker()
	wantLines(
		t,
		err,
		"DM_DROP_POINTS: drop point mx1: its URL must begin with dir:, smtp:// or smtps://",
		"DM_DROP_POINTS: entry 2"+notNamed,
		"DM_DROP_POINTS: drop point mx3 is named twice",
		"DM_DROP_POINTS: a drop point's name must be up to 63 lower-case letters and digits, with single - or _ between them",
	)
}

func TestSourcesAreNamedDatabases(t *testing.T) {
	given := map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25"}
	for _, none := range []string{"", " \n"} {
		given["DM_SOURCES"] = none
		environment(t, given)
		if w, err := config.LoadWorker(); err != nil || len(w.Sources) > 0 {
			t.Errorf("%q: %v, %v", none, w.Sources, err)
		}
	}
	given["DM_SOURCES"] = "crm=postgres://reader:secret@db.example.com/crm?sslmode=disable\n" +
		" shop=postgresql://127.0.0.1:5433/shop"
	environment(t, given)
	w, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Sources) != 2 || w.Sources[0].Name != "crm" ||
		w.Sources[0].String() != "postgres://db.example.com:5432/crm" ||
		w.Sources[1].Name != "shop" {
		t.Errorf("got %v", w.Sources)
	}
	if text := fmt.Sprintf("%v %+v %#v", w.Sources, w.Sources, w.Sources); strings.Contains(text, "secret") ||
		strings.Contains(text, "reader") {
		t.Errorf("shown as %s", text)
	}
}

func TestEveryBadSourceIsNamedAtOnceWithoutItsCredentials(t *testing.T) {
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25",
		"DM_SOURCES": "crm=mysql://reader:secret@h/crm postgres://reader:secret@h/crm shop=postgres://h/shop " +
			"shop=postgres://reader:secret@h/shop " +
			"Shop=postgres://reader:secret@h/x bad=postgres://reader:%zzsecret@h/x"})
	_, err := config.LoadWorker()
	wantLines(t, err,
		"DM_SOURCES: source crm: its URL must begin with postgres://",
		"DM_SOURCES: entry 2"+notNamed,
		"DM_SOURCES: source shop is named twice",
		"DM_SOURCES: a source's name must be up to 63 lower-case letters and digits, with single - or _ between them",
		"DM_SOURCES: source bad: its URL cannot be used: it is not a PostgreSQL URL such as "+
			"postgres://user:password@host:5432/database: write special characters of user and password as %xx, "+
			"for example @ as %40, / as %2F and # as %23; the files that it names must exist")
}

func TestEveryProblemOfADKIMKeyIsReportedWithTheOthers(t *testing.T) {
	key := secretFile(t, "no key")
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=ftp://127.0.0.1",
		"DM_DKIM": "news.example.com=" + key + "?selector=a example.com=/nowhere/key?selector=b"})
	_, err := config.LoadWorker()
	wantLines(t, err,
		"DM_DROP_POINTS: drop point mx: its URL must begin with dir:, smtp:// or smtps://",
		"DM_DKIM: a._domainkey.news.example.com: its file holds no PEM block; it must hold a private key in PEM format, "+
			"as `starter dkim new` writes it",
		"DM_DKIM: b._domainkey.example.com: its file cannot be read: no such file or directory")

	// The starter reads which domains have keys, and not the keys: it may run where nobody may read
	// them.
	if s, err := config.LoadStarter(); err == nil || len(s.DKIM) != 2 {
		t.Errorf("the starter: %v, %v", s.DKIM, err) // the error is about the drop point
	}
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1",
		"DM_DKIM": "news.example.com example.com=/nowhere/key"})
	const form = "domain=file?selector=name, such as news.example.com=/run/secrets/dkim.pem?selector=rsa202611"
	_, err = config.LoadWorker()
	wantLines(t, err,
		"DM_DKIM: entry 1: it is not "+form+": entries are separated by blanks, so write a blank in a file's name as %20",
		"DM_DKIM: entry 2: it needs one selector and no other parameter: write it as in "+form)
}

func TestPageHostsAreHostsAndNetworks(t *testing.T) {
	given := map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25"}
	for _, good := range []string{"", " \n", "pages.internal  10.1.2.3:8080\n10.1.0.0/16\t[::1]:80 ::1 fd00::/8"} {
		given["DM_PAGE_HOSTS"] = good
		environment(t, given)
		if _, err := config.LoadWorker(); err != nil {
			t.Errorf("%q: %v", good, err)
		}
		if _, err := config.LoadStarter(); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	given["DM_PAGE_HOSTS"] = "https://user:secret@pages.internal pages.internal 10.0.0.0/33"
	environment(t, given)
	_, err := config.LoadWorker()
	wantLines(
		t,
		err,
		"DM_PAGE_HOSTS: entry 1 is not a host such as pages.example.com or 10.1.2.3:8080, nor a network such as 10.1.0.0/16",
		"DM_PAGE_HOSTS: entry 3 is not a host such as pages.example.com or 10.1.2.3:8080, nor a network such as 10.1.0.0/16",
	)
}

// secretFile writes a file as a container platform mounts a secret, and returns its path.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := t.TempDir() + "/secret"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSecretsAreReadFromFiles(t *testing.T) {
	environment(t, map[string]string{
		"DATABASE_URL_FILE":   secretFile(t, "postgres://user:secret@127.0.0.1/mail\n"),
		"DM_DROP_POINTS_FILE": secretFile(t, "mx=smtp://user:secret@127.0.0.1:25\nspare=smtp://127.0.0.1:26\n"),
		"DM_SOURCES_FILE":     secretFile(t, "crm=postgres://user:secret@127.0.0.1/crm\n"),
	})
	w, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	if w.DatabaseURL != "postgres://user:secret@127.0.0.1/mail" || len(w.DropPoints) != 2 ||
		w.DropPoints[1].Name != "spare" ||
		len(w.Sources) != 1 {
		t.Errorf("got %+v", w)
	}
	if s, err := config.LoadStarter(); err != nil || s.DatabaseURL != w.DatabaseURL || len(s.DropPoints) != 2 ||
		len(s.Sources) != 1 {
		t.Errorf("a starter: %+v, %v", s, err)
	}
	if got := config.Getenv("DATABASE_URL"); got != w.DatabaseURL {
		t.Errorf("Getenv returns %q", got)
	}
}

// pipe returns the path of a pipe that gives the content once, as the shell's <(…) does.
func pipe(t *testing.T, content string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err == nil {
		t.Cleanup(func() { _ = r.Close() })
		_, err = w.WriteString(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/dev/fd/%d", r.Fd())
}

func TestASecretFromAPipeIsThereForEveryReadOfTheEnvironment(t *testing.T) {
	environment(t, map[string]string{
		"DATABASE_URL_FILE":   pipe(t, "postgres://user:secret@127.0.0.1/mail\n"),
		"DM_DROP_POINTS_FILE": pipe(t, "mx=smtp://user:secret@127.0.0.1:25\n"),
	})
	for range 2 {
		s, err := config.LoadStarter()
		if err != nil || s.DatabaseURL != "postgres://user:secret@127.0.0.1/mail" || len(s.DropPoints) != 1 {
			t.Errorf("got %+v, %v", s, err)
		}
	}
	if got := config.Getenv("DATABASE_URL"); got != "postgres://user:secret@127.0.0.1/mail" {
		t.Errorf("Getenv returns %q", got)
	}
}

func TestAFileOfASecretThatCannotBeUsedIsNamedWithoutItsContent(t *testing.T) {
	given := map[string]string{
		"DATABASE_URL":        "postgres://127.0.0.1/mail",
		"DM_DROP_POINTS_FILE": secretFile(t, "mx=ftp://user:secret@127.0.0.1"),
	}
	environment(t, given)
	_, err := config.LoadWorker()
	wantLines(t, err, "DM_DROP_POINTS: drop point mx: its URL must begin with dir:, smtp:// or smtps://")

	given["DATABASE_URL_FILE"] = secretFile(t, "postgres://user:secret@127.0.0.1/other")
	given["DM_DROP_POINTS_FILE"] = "/nowhere/secret"
	environment(t, given)
	_, err = config.LoadWorker()
	wantLines(t, err,
		"DATABASE_URL and DATABASE_URL_FILE are both set: set one of them",
		"DM_DROP_POINTS_FILE names a file that cannot be read: no such file or directory")

	environment(
		t,
		map[string]string{"DATABASE_URL_FILE": secretFile(t, "\n"), "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25"},
	)
	_, err = config.LoadWorker()
	wantLines(t, err, "DATABASE_URL is empty: set it to postgres://user:password@host:5432/database")
}

func TestTheAddressOfTheWebUIIsAURL(t *testing.T) {
	for given, want := range map[string]string{"": "", "http://127.0.0.1:8233/": "http://127.0.0.1:8233",
		"https://ui.example.com/temporal": "https://ui.example.com/temporal"} {
		environment(t, map[string]string{"DM_WEB_UI": given})
		if s, err := config.LoadStarter(); err != nil || string(s.WebUI) != want {
			t.Errorf("%q: %q, %v", given, s.WebUI, err)
		}
	}
	for _, wrong := range []string{"127.0.0.1:8233", "ftp://127.0.0.1", "https://user:secret@ui.example.com", "http://"} {
		environment(t, map[string]string{"DM_WEB_UI": wrong})
		_, err := config.LoadStarter()
		wantLines(t, err, "DM_WEB_UI: it is not an address such as http://127.0.0.1:8233")
	}
}

func TestEveryVariableIsDescribed(t *testing.T) {
	for _, of := range []any{config.Worker{}, config.Starter{}} {
		text := config.Describe(of)
		for _, v := range config.Variables(of) {
			if v.Name == "" || v.Text == "" {
				t.Errorf("a variable of %T has no name or no text: %+v", of, v)
			}
			if !strings.Contains(text, "\n  "+v.Name+"\n") && !strings.HasPrefix(text, "  "+v.Name+"\n") {
				t.Errorf("the description of %T does not name %s", of, v.Name)
			}
		}
		for line := range strings.Lines(text) {
			if len(line) > 101 {
				t.Errorf("a line of %d columns: %s", len(line), line)
			}
		}
	}
}
