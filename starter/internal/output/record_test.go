package output_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"directmailer/starter/internal/output"
)

// answer is what a command answers.
type answer struct {
	Name  string `json:"name"`
	Doing string `json:"doing"`
}

var answers = output.Record[answer]{
	Fields: func(a answer) []output.Field {
		return []output.Field{{Name: "mailing", Text: a.Name}, {Name: "reason"}, {Name: "doing", Text: a.Doing}}
	},
	Rest: func(w io.Writer, a answer) { fmt.Fprintf(w, "the rest of %s\n", a.Name) },
}

func TestADescriptionLeavesOutWhatIsEmptyAndKeepsTextsOnOneLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("because of something ", 20)
	var b bytes.Buffer
	answers.Render(&b, answer{"m", long})
	if strings.Contains(b.String(), "reason") || !strings.Contains(b.String(), long) ||
		!strings.HasSuffix(b.String(), "\nthe rest of m\n") {
		t.Error(b.String())
	}
}

func TestARecordIsWrittenInTheFormatThatIsAsked(t *testing.T) {
	t.Parallel()
	cmd := &cobra.Command{Use: "x"}
	format := output.AddFormat(cmd, "table", "json")
	for value, want := range map[string]string{
		"table": "the rest of m",
		"json":  "{\n  \"name\": \"m\",\n  \"doing\": \"waits\"\n}\n",
	} {
		if err := cmd.Flags().Set("output", value); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := answers.Write(&b, format, answer{"m", "waits"}); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %v\n%s", value, err, b.String())
		}
	}
}
