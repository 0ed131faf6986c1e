package feedback

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"time"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/test/rig"
)

// starterCommand returns a command of the starter that knows the database and the token keys.
func starterCommand(r *rig.Rig, args ...string) *exec.Cmd {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), servertest.Build(r.TB, "./starter"), args...)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+r.DatabaseURL, "DM_TOKEN_KEYS="+secret)
	return cmd
}

// starter runs a command that must succeed, and returns its output.
func starter(r *rig.Rig, args ...string) string {
	r.Helper()
	out, err := starterCommand(r, args...).CombinedOutput()
	if err != nil {
		r.Fatalf("starter %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// wantReportOfEvents wants the events as CSV and as JSON, by recipient and time, without tokens.
func wantReportOfEvents(r *rig.Rig, received map[string]smtptest.Message, want [][]string) {
	r.Helper()
	header := []string{"address", "at", "kind", "class", "enhanced_code", "diagnostic", "origin"}
	asCSV := starter(r, "report", r.ID(), "--events")
	rows, err := csv.NewReader(strings.NewReader(asCSV)).ReadAll()
	if err != nil || len(rows) == 0 || !slices.Equal(rows[0], header) {
		r.Fatalf("%v\n%s", err, asCSV)
	}
	asJSON := starter(r, "report", r.ID(), "--events", "--output", "json")
	var objects []map[string]string
	if err := json.Unmarshal([]byte(asJSON), &objects); err != nil {
		r.Fatalf("%v\n%s", err, asJSON)
	}
	var values [][]string
	for _, object := range objects {
		var row []string
		for _, name := range header {
			row = append(row, object[name])
		}
		values = append(values, row)
		if len(object) != len(header) {
			r.Errorf("an event has the fields %v", object)
		}
	}
	for _, got := range [][][]string{rows[1:], values} {
		for i, row := range got {
			if _, err := time.Parse(time.RFC3339Nano, row[1]); err != nil {
				r.Error(err)
			}
			got[i] = slices.Delete(row, 1, 2)
		}
		if !reflect.DeepEqual(got, want) {
			r.Errorf("the report has the events\n%q, want\n%q", got, want)
		}
	}
	for _, m := range received {
		named, _ := feedback.ReadAddress(keys, m.From)
		for _, secret := range []string{secret, domain, keys.ForURL(token.Unsubscribe, named.Recipient),
			keys.ForAddress(token.Unsubscribe, named.Recipient), keys.ForAddress(token.Bounce, named.Recipient)} {
			if strings.Contains(asCSV+asJSON, secret) {
				r.Errorf("%q is in the report", secret)
			}
		}
	}
}
