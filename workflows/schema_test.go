package workflows_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"directmailer/internal/naming"
	"directmailer/workflows"
)

var update = flag.Bool("update", false, "write docs/mailing.schema.json")

const schemaFile = "../docs/mailing.schema.json"

// TestSchemaIsThatOfTheGoTypes fails when docs/mailing.schema.json is stale.
// go test ./workflows -run Schema -update writes it.
func TestSchemaIsThatOfTheGoTypes(t *testing.T) {
	want := schemaOf(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is stale (%v): go test ./workflows -run Schema -update", schemaFile, err)
	}
}

func schemaOf(t *testing.T) []byte {
	t.Helper()
	r := jsonschema.Reflector{Anonymous: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		if t != reflect.TypeFor[workflows.Duration]() {
			return nil
		}
		return &jsonschema.Schema{
			Type:     "string",
			Pattern:  `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`,
			Examples: []any{"30s", "5m"},
		}
	}}
	if err := r.AddGoComments("directmailer/workflows", "./"); err != nil {
		t.Fatal(err)
	}
	schema := r.Reflect(workflows.Input{})
	schema.Title = "Input of the workflow Mailing"
	schema.Definitions["Content"].MinProperties = new(uint64(1))
	nameRules(schema)
	for _, audience := range []string{"list", "query", "continue"} {
		schema.OneOf = append(schema.OneOf, &jsonschema.Schema{Required: []string{audience}})
	}
	data, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(data)))
	return append(data, '\n')
}

// nameRules adds the rules of names and of outcomes, which are constants that a struct's tag cannot
// use.
func nameRules(schema *jsonschema.Schema) {
	field := func(of *jsonschema.Schema, name string) *jsonschema.Schema {
		property, _ := of.Properties.Get(name)
		return property
	}
	rule := func(s *jsonschema.Schema, length uint64, pattern string) { s.MaxLength, s.Pattern = &length, pattern }
	definitions := schema.Definitions
	input, query, continuation := definitions["Input"], definitions["Query"], definitions["Continuation"]
	rule(field(input, "id"), naming.MaxIDLength, naming.IDPattern)
	rule(field(continuation, "mailing"), naming.MaxIDLength, naming.IDPattern)
	rule(field(input, "list"), naming.MaxLength, naming.Pattern)
	rule(field(input, "drop_points").Items, naming.MaxLength, naming.Pattern)
	rule(field(query, "source"), naming.MaxLength, naming.Pattern)
	entries := func(name string, most uint64) { field(definitions["Rates"], name).MaxProperties = &most }
	entries("drop_points", workflows.MaxDropPoints)
	entries("domains", workflows.MaxDomainRates)
	field(input, "headers").MaxProperties = new(uint64(workflows.MaxHeaders))
	for _, outcome := range workflows.ContinuableOutcomes() {
		outcomes := field(continuation, "outcomes").Items
		outcomes.Enum = append(outcomes.Enum, outcome)
	}
}

func compiled(t *testing.T) *validator.Schema {
	t.Helper()
	c := validator.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func valid(t *testing.T, schema *validator.Schema, data []byte) error {
	t.Helper()
	value, err := validator.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

func TestTheExamplesAreGoodInputsAndFitTheSchema(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no example was found", err)
	}
	schema := compiled(t)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(t, schema, data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var in workflows.Input
		if err := json.Unmarshal(data, &in); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if problems := in.Validate(); len(problems) > 0 {
			t.Errorf("%s: %v", file, problems)
		}
	}
}

// Whoever checks an input by the schema alone learns of each of these, and Validate refuses them as
// well.
func TestTheSchemaRefusesWhatValidateRefuses(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	good := map[string]any{
		"from":    "news@example.com",
		"subject": "Hello",
		"list":    "people",
		"content": map[string]any{"text": "Hello"},
	}
	check := func(change string, want bool) {
		t.Helper()
		changed := map[string]any{}
		for k, v := range good {
			changed[k] = v
		}
		var more map[string]any
		if err := json.Unmarshal([]byte(change), &more); err != nil {
			t.Fatal(err)
		}
		for k, v := range more {
			if changed[k] = v; v == "left out" {
				delete(changed, k)
			}
		}
		data, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		var in workflows.Input
		if err := json.Unmarshal(data, &in); err != nil {
			t.Fatal(err)
		}
		if problems := in.Validate(); (len(problems) == 0) != want {
			t.Errorf("%s: Validate says %v", change, problems)
		}
		if err := valid(t, schema, data); (err == nil) != want {
			t.Errorf("%s: the schema says %v", change, err)
		}
	}
	for _, change := range []string{
		`{}`, `{"id": "a-1"}`, `{"retry": {"page": {"attempts": 1, "interval": "1m30s"}}}`, `{"drop_points": ["mx1", "mx2"]}`,
		`{"batch_size": 5000}`,
		`{"on_uncertain": "hold", "on_exhausted": "fail"}`, `{"not_before": "2026-01-31T09:00:00+01:00"}`,
		`{"content": {"html": "<p>x"}}`,
		`{"list": "left out", "query": {"source": "crm", "sql": "SELECT email FROM people"}}`,
		`{"list": "left out", "continue": {"mailing": "spring-1", "outcomes": ["unsent", "failed"]}}`,
		`{"content": {"page_url": "https://www.example.com/{{.id}}"}}`,
		`{"deferral": {"first": "1m", "most": "1h", "for": "24h"}}`, `{"max_error_percent": 20, "error_minimum": 50}`,
		`{"rates": {"mailing": "1000/h", "drop_points": {"mx": "500/s"}, "domains": {"gmail.com": "20/s"}}}`,
	} {
		check(change, true)
	}
	for _, change := range []string{
		`{"from": "left out"}`, `{"subject": "left out"}`, `{"list": "left out"}`, `{"content": "left out"}`,
		`{"content": {}}`, `{"content": "x"}`, `{"content": {"htlm": "x", "text": "y"}}`,
		`{"from": ""}`, `{"subject": ""}`, `{"list": ""}`, `{"list": "../people"}`, `{"id": "a@example.com"}`,
		`{"batch_size": 5001}`, `{"batch_size": "500"}`, `{"on_uncertian": "hold"}`,
		`{"on_uncertain": "maybe"}`, `{"on_exhausted": "x"}`, `{"retry": {"page": {"attempts": -1}}}`,
		`{"retry": {"page": {"attempts": 1001}}}`,
		`{"retry": {"page": {"interval": "soon"}}}`, `{"retry": {"page": {"interval": 30}}}`, `{"retry": {"pages": {}}}`,
		`{"drop_points": "mx1"}`, `{"drop_points": ["mx1", "mx1"]}`,
		`{"drop_points": ["MX"]}`, `{"not_before": "tomorrow"}`, `{"resume": {}}`,
		`{"query": {"source": "crm", "sql": "SELECT email FROM people"}}`, `{"list": "left out", "query": {"source": "crm"}}`,
		`{"list": "left out", "continue": {"mailing": "spring-1", "outcomes": ["sent"]}}`,
		`{"max_error_percent": 101}`, `{"rates": {"mailing": 5}}`, `{"deferral": {"first": 5}}`,
		`{"content": {"text": "x", "static": "yes"}}`,
	} {
		check(change, false)
	}
}
