package workflows_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/workflows"
)

// A program of somebody else that starts mailings by the contract alone.
const otherProgram = `package main

import (
	"encoding/json"
	"log"
	"os"
	"time"

	"directmailer/workflows"
)

func main() {
	in := workflows.Input{
		ID: "summer-1", From: "Example News <news@example.com>", Subject: "Hello {{.first_name}}", List: "people",
		Content: workflows.Content{Text: "Hello {{.first_name}}"}, OnUncertain: workflows.Hold,
		Retry: workflows.Retries{
			DropPoint: workflows.Retry{Attempts: 2, Interval: workflows.Duration(90 * time.Second)},
		},
	}
	if problems := in.Validate(); len(problems) > 0 {
		log.Fatal(problems)
	}
	if in.From = ""; len(in.Validate()) != 1 {
		log.Fatal("an input without a sender is taken")
	}
	in.From = "Example News <news@example.com>"
	log.SetPrefix(workflows.MailingType + " " + workflows.TaskQueue)
	if err := json.NewEncoder(os.Stdout).Encode(in); err != nil {
		log.Fatal(err)
	}
}
`

func TestAProgramOfAnotherModuleStartsMailingsByTheContract(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("compiles a program")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(ours), "\n") // the same versions, so that nothing has to be fetched
	if !ok {
		t.Fatal("go.mod has no lines")
	}
	ours = []byte("module other.example\n" + rest +
		"\nrequire directmailer v0.0.0\n\nreplace directmailer => " + root + "\n")
	write("go.mod", ours)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", sums)
	write("main.go", []byte(otherProgram))
	out, err := runGo(dir, "run", ".")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var in workflows.Input
	if err := json.Unmarshal(out, &in); err != nil {
		t.Fatal(err)
	}
	if in.ID != "summer-1" || in.OnUncertain != workflows.Hold || in.Retry.DropPoint.Attempts != 2 ||
		len(in.Validate()) > 0 {
		t.Errorf("the input came out as %s", out)
	}
	if err := valid(t, compiled(t), out); err != nil {
		t.Errorf("the schema refuses what the program has written: %v", err)
	}
}

// runGo runs the go command without fetching anything. The answer is its output, or with an error
// its complaint.
func runGo(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return []byte(complaint.String()), err
	}
	return out, nil
}

func TestTheContractNeedsNoDatabaseAndNoSMTP(t *testing.T) {
	t.Parallel()
	out, err := runGo(".", "list", "-buildvcs=false", "-deps", "directmailer/workflows")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 10 || packages[len(packages)-1] != "directmailer/workflows" {
		t.Fatalf("the list is not that of the package: %q", packages)
	}
	for _, p := range packages {
		for _, unwanted := range []string{
			"jackc/pgx", "pressly/goose", "net/smtp", "directmailer/internal/delivery/smtp",
			"directmailer/internal/ledger", "directmailer/internal/delivery/droppoint",
			"directmailer/internal/database",
		} {
			if strings.Contains(p, unwanted) {
				t.Errorf("the contract depends on %s", p)
			}
		}
	}
}
