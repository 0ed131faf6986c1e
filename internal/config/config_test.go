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
	for _, name := range []string{"DATABASE_URL", "DM_DROP_POINTS", "DM_SOURCES", "DM_PAGE_HOSTS", "DM_TASK_QUEUE", "DM_MAX_BATCHES", "DM_STOP_TIMEOUT", "DM_HEALTH_ADDRESS", "DM_LOG_LEVEL", "DM_LOG_FORMAT"} {
		t.Setenv(name, given[name]) // restores it afterwards
		if _, ok := given[name]; !ok {
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAWorkerNeedsADatabaseAndDropPointsAndNothingElse(t *testing.T) {
	environment(t, map[string]string{"DATABASE_URL": "postgres://127.0.0.1/mail", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:2525"})
	w, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	if w.TaskQueue != "direct-mailer" || w.MaxBatches != 8 || w.StopTimeout != 30*time.Second || w.LogLevel != slog.LevelInfo || w.LogFormat != "text" || w.HealthAddress != "" {
		t.Errorf("got %+v", w)
	}
	environment(t, nil)
	_, err = config.LoadWorker()
	wantLines(t, err, "DATABASE_URL is not set", "DM_DROP_POINTS is not set")
	if s, err := config.LoadStarter(); err != nil || s.TaskQueue != "direct-mailer" || len(s.DropPoints) > 0 {
		t.Errorf("a starter without settings: %+v, %v", s, err)
	}
}

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
		"DATABASE_URL": "", "DM_DROP_POINTS": "mx=ftp://127.0.0.1", "DM_MAX_BATCHES": "many", "DM_STOP_TIMEOUT": "soon", "DM_LOG_LEVEL": "LOUD", "DM_LOG_FORMAT": "xml",
	})
	_, err := config.LoadWorker()
	wantLines(t, err,
		"DATABASE_URL is empty",
		"DM_DROP_POINTS: drop point mx: its URL must begin with dir:, smtp:// or smtps://",
		"DM_MAX_BATCHES cannot be read as a whole number",
		"DM_STOP_TIMEOUT cannot be read as a duration such as 30s",
		"DM_LOG_LEVEL cannot be read as a log level: DEBUG, INFO, WARN or ERROR",
		"DM_LOG_FORMAT must be text or json")
}

func TestNumbersHaveBounds(t *testing.T) {
	for _, n := range []string{"0", "-1", "1001"} {
		environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25", "DM_MAX_BATCHES": n})
		_, err := config.LoadWorker()
		wantLines(t, err, "DM_MAX_BATCHES is "+n+": it must be 1 to 1000")
	}
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25", "DM_STOP_TIMEOUT": "-1s"})
	_, err := config.LoadWorker()
	wantLines(t, err, "DM_STOP_TIMEOUT must not be negative")
}

func TestDropPointsAreSeparatedByBlanksAndLineBreaks(t *testing.T) {
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "\n  mx1=smtp://127.0.0.1:2525?connections=2&messages=0 \t\r\n\n mx2=smtps://mail.example.com\n"})
	w, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	if len(w.DropPoints) != 2 || w.DropPoints[0].Name != "mx1" || w.DropPoints[0].Connections != 2 || w.DropPoints[1].String() != "smtps://mail.example.com:465" {
		t.Errorf("got %v", w.DropPoints)
	}
}

func TestAWorkerWithoutAnyDropPointIsRefused(t *testing.T) {
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": " \n\t "})
	_, err := config.LoadWorker()
	wantLines(t, err, "DM_DROP_POINTS: there is no drop point in it")
}

func TestErrorsHoldNoCredentials(t *testing.T) {
	const user, password = "secret-user", "secret-word"
	at := user + ":" + password + "@127.0.0.1:25"
	for _, points := range []string{
		"smtp://" + at, "smtp://" + at + "?hello=x", "mx=smpt://" + at, "mx=smtp://" + at + "x", "mx=smtp://" + at + "?" + "connections=" + password,
		"mx=smtp://" + user + ":" + "%zz" + password + "@h", "mx=smtp://" + at + " mx=smtp://" + at, "mx=smtp://" + at + "?tls=" + password, "mx = smtp://" + at,
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
		if text := fmt.Sprintf("%v %+v %#v", w.DropPoints, w.DropPoints, w.DropPoints); strings.Contains(text, "secret") {
			t.Errorf("%s: shown as %s", points, text)
		}
	}
}

func TestEveryBadDropPointIsNamedAtOnce(t *testing.T) {
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx1=ftp://127.0.0.1 mx2 mx3=smtp://127.0.0.1:25 mx3=smtp://127.0.0.1:26 Mx4=dir:/tmp"})
	_, err := config.LoadWorker()
	wantLines(t, err,
		"DM_DROP_POINTS: drop point mx1: its URL must begin with dir:, smtp:// or smtps://",
		"DM_DROP_POINTS: entry 2 is not name=url",
		"DM_DROP_POINTS: drop point mx3 is there twice",
		"DM_DROP_POINTS: a drop point's name must be up to 63 lower-case letters and digits, with single - or _ between them")
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
	given["DM_SOURCES"] = "crm=postgres://reader:secret@db.example.com/crm?sslmode=disable\n shop=postgresql://127.0.0.1:5433/shop"
	environment(t, given)
	w, err := config.LoadWorker()
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Sources) != 2 || w.Sources[0].Name != "crm" || w.Sources[0].String() != "postgres://db.example.com:5432/crm" || w.Sources[1].Name != "shop" {
		t.Errorf("got %v", w.Sources)
	}
	if text := fmt.Sprintf("%v %+v %#v", w.Sources, w.Sources, w.Sources); strings.Contains(text, "secret") || strings.Contains(text, "reader") {
		t.Errorf("shown as %s", text)
	}
}

func TestEveryBadSourceIsNamedAtOnceWithoutItsCredentials(t *testing.T) {
	environment(t, map[string]string{"DATABASE_URL": "x", "DM_DROP_POINTS": "mx=smtp://127.0.0.1:25",
		"DM_SOURCES": "crm=mysql://reader:secret@h/crm postgres://reader:secret@h/crm shop=postgres://h/shop shop=postgres://reader:secret@h/shop " +
			"Shop=postgres://reader:secret@h/x bad=postgres://reader:%zzsecret@h/x"})
	_, err := config.LoadWorker()
	wantLines(t, err,
		"DM_SOURCES: source crm: its URL must begin with postgres://",
		"DM_SOURCES: entry 2 is not name=url",
		"DM_SOURCES: source shop is there twice",
		"DM_SOURCES: a source's name must be up to 63 lower-case letters and digits, with single - or _ between them",
		"DM_SOURCES: source bad: its URL cannot be used: it must be like postgres://user:password@host:5432/database "+
			"(are marks in the password written as %xx? do the files that it names exist?)")
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
	wantLines(t, err,
		"DM_PAGE_HOSTS: entry 1 is not a host such as pages.example.com or 10.1.2.3:8080, nor a network such as 10.1.0.0/16",
		"DM_PAGE_HOSTS: entry 3 is not a host such as pages.example.com or 10.1.2.3:8080, nor a network such as 10.1.0.0/16")
}
