package docs_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"directmailer/internal/config"
)

// rows returns the rows of a page's tables by the names in their first column.
func rows(text string) map[string]string {
	found := map[string]string{}
	name := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		first, _, _ := strings.Cut(line[2:], " |")
		for _, m := range name.FindAllStringSubmatch(first, -1) {
			found[m[1]] = line
		}
	}
	return found
}

func TestTheReferenceNamesEveryVariableOfTheConfiguration(t *testing.T) {
	t.Parallel()
	reference := rows(read(t, "docs/configuration.md"))
	for _, c := range []reflect.Type{reflect.TypeFor[config.Worker](), reflect.TypeFor[config.Starter]()} {
		variables := 0
		for i := range c.NumField() {
			tag, ok := c.Field(i).Tag.Lookup("env")
			if !ok {
				continue
			}
			variables++
			name, _, _ := strings.Cut(tag, ",")
			row, ok := reference[name]
			if !ok {
				t.Errorf("docs/configuration.md has no row for %s, which %s reads", name, c)
				continue
			}
			if _, ok := reference[name+"_FILE"]; !ok && c.Field(i).Tag.Get("file") == "true" {
				t.Errorf("docs/configuration.md has no row for %s_FILE, which %s reads", name, c)
			}
			if value := c.Field(i).Tag.Get("envDefault"); value != "" && !strings.Contains(row, "`"+value+"`") {
				t.Errorf("docs/configuration.md does not say that %s is %s by default: %s", name, value, row)
			}
		}
		if variables < 4 {
			t.Errorf("%s has only %d variables: the test does not see them", c, variables)
		}
	}
}

// The JSON Schema is made from the Go types, so it has every field.
func TestTheReferenceNamesEveryFieldOfTheInput(t *testing.T) {
	t.Parallel()
	var schema struct {
		Defs map[string]map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(read(t, "docs/mailing.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	reference := rows(read(t, "docs/api.md"))
	var missing []string
	var walk func(path string, properties map[string]any)
	walk = func(path string, properties map[string]any) {
		for name, value := range properties {
			field := strings.TrimPrefix(path+"."+name, ".")
			definition, _ := value.(map[string]any)
			if ref, ok := definition["$ref"].(string); ok {
				definition = schema.Defs[strings.TrimPrefix(ref, "#/$defs/")]
			}
			inner, _ := definition["properties"].(map[string]any)
			_, asAWhole := reference[field]
			switch {
			case asAWhole:
			case len(inner) > 0:
				walk(field, inner)
			default:
				missing = append(missing, field)
			}
		}
	}
	input, _ := schema.Defs["Input"]["properties"].(map[string]any)
	walk("", input)
	if len(input) < 15 {
		t.Errorf("the schema has only %d fields: the test does not see them", len(input))
	}
	for _, field := range missing {
		t.Errorf("docs/api.md has no row for the field %s of the input", field)
	}
}
