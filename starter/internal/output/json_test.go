package output_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"directmailer/starter/internal/output"
)

// FuzzTextsOfOthers checks that a text of a server or of a list reaches a program as it is, and a
// terminal without anything that controls it.
func FuzzTextsOfOthers(f *testing.F) {
	for _, seed := range []string{"", " ", "ok", "\x00", "\x1b[2J\x07\x7f", "\u0085\u009b2J", "\u202ea\u200b\ufeff",
		"\xff\xc3", "\U000e0041\U0001d173", "<>&\u2028\u2029\"\\", strings.Repeat("é", 3000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		if err := output.WriteJSON(&b, map[string]string{"text": text}); err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["text"] != strings.ToValidUTF8(text, "\ufffd") &&
			utf8.ValidString(text) {
			t.Errorf("%q is read back as %q, %v", text, back["text"], err)
		}
		for name, shown := range map[string]string{"JSON": strings.ReplaceAll(b.String(), "\n", ""),
			"a table": output.Clean(text), "one line": output.OneLine(text), "an error": output.Typed(text)} {
			if strings.ContainsFunc(shown, invisible) || !utf8.ValidString(shown) {
				t.Errorf("%s: %q is shown as %q", name, text, shown)
			}
		}
		var table bytes.Buffer
		reply := func(text string) []output.Field { return []output.Field{{Name: "reply", Text: text}} }
		output.Record[string]{Fields: reply}.Render(&table, text)
		if strings.ContainsFunc(strings.ReplaceAll(table.String(), "\n", ""), invisible) {
			t.Errorf("%q is shown as %q", text, table.String())
		}
	})
}

func invisible(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }
