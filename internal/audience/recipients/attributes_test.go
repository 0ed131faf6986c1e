package recipients

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzAttributesAreReadAsJSONIs(f *testing.F) {
	for _, text := range []string{`{}`, `{"a": "b"}`, `{"name": "Müller", "x": ""}`, `{"a": "quo\"te", "b": "c"}`,
		`{"a": "\u00e9"}`, `{"a": "b\\"}`, `{"a":"b"}`,
		`{"a": "b", "a": "c"}`, `{"a": 1}`, `{"a": null}`, `{"a": "b"`, `{"a": "b",}`, `null`, ``, `{`, `{"": ", "}`,
		`{"a": "}"}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return // jsonb prints neither
		}
		var want map[string]string
		if json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		if got, err := readAttributes(text); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	})
}

func TestAttributesThatAreNoObjectOfStringsAreAnErrorThatDoesNotQuoteThem(t *testing.T) {
	t.Parallel()
	if _, err := readAttributes(`{"a": ["secret"]}`); err == nil ||
		err.Error() != "the attributes of a recipient cannot be read" {
		t.Error(err)
	}
}

func BenchmarkAttributes(b *testing.B) {
	const text = `{"city": "Lübeck", "token": "t0000000000000001", "branch": "Harbour & Quay", "number": "1", "points": ` +
		`"1", "street": "Fischergrube 2", "voucher": "V-00007919", "last_name": "Müller", "first_name": "Ann1"}`
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := readAttributes(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var attributes map[string]string
			if err := json.Unmarshal([]byte(text), &attributes); err != nil {
				b.Fatal(err)
			}
		}
	})
}
