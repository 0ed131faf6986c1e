package dkim_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/internal/content/dkim"
	"directmailer/internal/dev/servertest"
)

// dkimpy verifies the messages with another implementation, in another language. Each message must
// have a signature of each key.
func dkimpy(t *testing.T, keys []*dkim.Key, messages []sample) {
	t.Helper()
	python := servertest.Dkimpy(t)
	dir := t.TempDir()
	records := map[string]string{}
	for _, key := range keys {
		records[key.Record().Name] = key.Record().Value
	}
	text, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "records.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.eml", i)), m.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := python("testdata/verify.py", dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		if n := 0; line != fmt.Sprintf("%d verified\n", len(messages)) {
			_, _ = fmt.Sscanf(line, "%d.eml", &n)
			t.Errorf("%s: %s", messages[n].name, line)
		}
	}
	if !strings.HasSuffix(out, fmt.Sprintf("\n%d verified\n", len(messages))) &&
		out != fmt.Sprintf("%d verified\n", len(messages)) {
		t.Errorf("dkimpy does not say that it has verified %d messages: %s", len(messages), out)
	}
}

func TestEveryShapeOfMessagePassesDkimpy(t *testing.T) {
	t.Parallel()
	keys := bothKeys(t)
	dkimpy(t, keys.For(domain).Keys(), corpus(t, keys))
}
