package config_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"directmailer/internal/audience/query"
	"directmailer/internal/config"
	"directmailer/internal/database"
	"directmailer/internal/temporalclient"
)

// marker is the secret of these tests. No word of an error contains four of its letters in a row.
const marker = "Zq8Kw3XpJv7Yb"

// malformed returns a secret with marks in it, and a value that contains it, as people write such
// values by mistake.
func malformed(r *rand.Rand, forms []string) string {
	secret := marker
	for range r.IntN(4) {
		at := 4 + r.IntN(len(secret)-7)
		mark := []string{"@", "/", ":", "?", "#", "%", "&", "=", " ", "\n", "\\", "'", "\"", "[", ",", ";", "+",
			"\x01", "é",
			"@h/", "?x=", "&x=", " x=", ":1/", ":1?", "/x?", "%zz", "://", "\t"}[r.IntN(29)]
		secret = secret[:at] + mark + secret[at:]
	}
	if r.IntN(4) == 0 {
		secret = "12" + secret
	}
	return strings.ReplaceAll(forms[r.IntN(len(forms))], "SECRET", secret)
}

// holdsMarker returns a piece of the marker of at least four letters that the text holds.
func holdsMarker(text string) (piece string, ok bool) {
	for i := 0; i+4 <= len(marker); i++ {
		if strings.Contains(text, marker[i:i+4]) {
			return marker[i : i+4], true
		}
	}
	return "", false
}

var (
	databaseForms = []string{"postgres://me:SECRET@127.0.0.1:1/mail",
		"postgresql://me:SECRET@127.0.0.1:1/mail?sslmode=disable",
		"postgres://:SECRET@127.0.0.1:1/mail", "postgres://me:SECRET@/mail", "postgres:me:SECRET@127.0.0.1/mail",
		"postgres//me:SECRET@127.0.0.1/mail", "mysql://me:SECRET@127.0.0.1/mail", "me:SECRET@127.0.0.1",
		"postgres://127.0.0.1:1/mail?user=me&password=SECRET", "postgres://127.0.0.1:1/mail?user=me&pasword=SECRET",
		"host=127.0.0.1 port=1 user=me password=SECRET dbname=mail",
		"host=127.0.0.1 port=1 password='SECRET dbname=mail",
		"host=127.0.0.1 port=1 password = SECRET", "password=SECRET", "SECRET",
		"postgres://me:SECRET@127.0.0.1:port/mail",
		"postgres://me:SECRET@127.0.0.1:1,127.0.0.1:2/mail", "postgres://me:SECRET@127.0.0.1:1/mail?sslmode=SECRET",
		"postgres://me:SECRET@127.0.0.1:1/mail?pool_max_conns=SECRET",
		"postgres://me:SECRET@127.0.0.1:1/mail?sslrootcert=SECRET",
		"postgres://me:SECRET@127.0.0.1:1/mail?connect_timeout=1&default_query_exec_mode=SECRET"}
	dropPointForms = []string{"mx=smtp://me:SECRET@127.0.0.1:1", "smtp://me:SECRET@127.0.0.1:1",
		"mx smtp://me:SECRET@127.0.0.1",
		"mx=smtps://me:SECRET@127.0.0.1:1?connections=2", "mx=smtp:me:SECRET@127.0.0.1",
		"mx=smtp//me:SECRET@127.0.0.1",
		"mx=me:SECRET@127.0.0.1", "mx=smtp://SECRET@127.0.0.1", "mx=smtp://:SECRET@127.0.0.1",
		"mx=smtp://me:SECRET@", "mx=smtp://127.0.0.1:1?password=SECRET", "mx=smtp://127.0.0.1:1?SECRET=1",
		"mx=smtp://me:SECRET@127.0.0.1:1?tls=SECRET", "mx=smtp://me:SECRET@127.0.0.1:1?ca=SECRET",
		"mx=smtp://me:SECRET@127.0.0.1:1?hello=SECRET&auth=SECRET",
		"mx=smtp://me:SECRET@127.0.0.1:1?idempotency=SECRET",
		"mx=smtp://me:SECRET@127.0.0.1:1 spare=smtp://me:SECRET@127.0.0.1:1", "mx=dir:/tmp me:SECRET@127.0.0.1",
		"mx=smtp://me:x@127.0.0.1:1 SECRET", "SECRET", "mx=SECRET", "mx = smtp://me:SECRET@127.0.0.1",
		"mx=smpt://me:SECRET@h",
		"mx=smtp://me:SECRET@127.0.0.1:1?connections=SECRET&messages=SECRET&next_behind_dot=SECRET",
		"mx=smtp://me:SECRET@127.0.0.1:1?servername=SECRET&password_file=SECRET&password_command=SECRET"}
	sourceForms = []string{"crm=postgres://me:SECRET@127.0.0.1:1/crm", "postgres://me:SECRET@127.0.0.1:1/crm",
		"crm=SECRET",
		"crm=mysql://me:SECRET@127.0.0.1/crm", "crm postgres://me:SECRET@127.0.0.1/crm",
		"crm=postgres://127.0.0.1/crm?password=SECRET",
		"crm=postgres://me:SECRET@127.0.0.1:1/crm shop=postgres://me:SECRET@127.0.0.1:1/shop SECRET"}
	mailboxForms = []string{"imaps://me:SECRET@127.0.0.1/INBOX", "imap://me:SECRET@127.0.0.1:1/INBOX?tls=none",
		"imaps://:SECRET@127.0.0.1/INBOX", "imaps://SECRET@127.0.0.1/INBOX", "imaps://me:SECRET@/INBOX", "SECRET",
		"imaps://me:SECRET@127.0.0.1", "imaps:me:SECRET@127.0.0.1/INBOX", "me:SECRET@127.0.0.1/INBOX",
		"imaps://me:SECRET@127.0.0.1/INBOX?ca=SECRET", "imaps://me:x@127.0.0.1/INBOX?SECRET=1&tls=SECRET",
		"imaps://me:SECRET@127.0.0.1:port/INBOX", "pop3://me:SECRET@127.0.0.1/INBOX"}
	temporalForms = []string{"127.0.0.1:1", "https://me:SECRET@127.0.0.1:1", "me:SECRET@127.0.0.1:1",
		"127.0.0.1:1/SECRET",
		"127.0.0.1:1?SECRET", "127.0.0.1:SECRET@"}
)

// TestNoPieceOfASecretStandsInAnErrorOrALog writes secrets into each variable in many wrong ways,
// and reads them as worker and starter do.
func TestNoPieceOfASecretStandsInAnErrorOrALog(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 300
	}
	r := rand.New(rand.NewPCG(13, 5))
	for range rounds {
		given := map[string]string{"DATABASE_URL": malformed(r, databaseForms),
			"DM_DROP_POINTS": malformed(r, dropPointForms), "DM_SOURCES": malformed(r, sourceForms),
			"DM_INBOUND_MAILBOX": malformed(r, mailboxForms)}
		for _, name := range slices.Sorted(maps.Keys(given)) { // in this order, each run has the same values
			value := given[name]
			switch {
			case strings.Contains(value, "\x00"):
				delete(given, name)
			case r.IntN(8) == 0: // the value in the variable for a file
				delete(given, name)
				given[name+"_FILE"] = value
			case r.IntN(8) == 0:
				given[name+"_FILE"], given[name] = secretFile(t, value), ""
			}
		}
		environment(t, given)
		if text := whatIsSaid(t, given); text != "" {
			if piece, ok := holdsMarker(text); ok {
				t.Fatalf("%q stands in %q\nfor %q", piece, text, given)
			}
		}
	}
}

// whatIsSaid returns all errors and logs that the variables lead to.
func whatIsSaid(t *testing.T, given map[string]string) string {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w, err := config.LoadWorker()
	fmt.Fprintln(&said, err)
	log.Info("worker", "settings", w.DropPoints, "sources", w.Sources, "mailbox", w.InboundMailbox)
	s, err := config.LoadStarter()
	fmt.Fprintln(&said, err, s.DropPoints, s.Sources, query.NewSet(s.Sources).Names())
	if url := given["DATABASE_URL"]; url != "" {
		fmt.Fprintln(&said, database.Place(url))
		if _, err := database.ParseURL(url); err != nil {
			fmt.Fprintln(&said, err)
		}
	}
	return said.String()
}

// A server is asked for only where the settings can be read: each of these takes some milliseconds.
func TestNoPieceOfASecretStandsInAnErrorOfAServer(t *testing.T) {
	environment(t, nil)
	r := rand.New(rand.NewPCG(13, 7))
	for range 60 {
		url := malformed(r, databaseForms)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if pool, err := database.Open(ctx, url, 1); err == nil {
			pool.Close()
		} else if piece, ok := holdsMarker(err.Error()); ok {
			t.Errorf("%q stands in %q\nfor %q", piece, err, url)
		}
		var said bytes.Buffer
		t.Setenv("TEMPORAL_CONFIG_FILE", os.DevNull)
		t.Setenv("TEMPORAL_ADDRESS", malformed(r, temporalForms))
		t.Setenv("TEMPORAL_API_KEY", malformed(r, []string{"SECRET", "SECRET\n", "Bearer SECRET"}))
		c, err := temporalclient.Dial(ctx, slog.New(slog.NewTextHandler(&said,
			&slog.HandlerOptions{Level: slog.LevelDebug})))
		if err == nil {
			c.Close()
		}
		fmt.Fprintln(&said, err)
		if piece, ok := holdsMarker(said.String()); ok {
			t.Errorf("%q stands in %q\nfor %q", piece, said.String(), os.Getenv("TEMPORAL_ADDRESS"))
		}
		cancel()
	}
}
