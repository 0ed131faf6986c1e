package field_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"directmailer/internal/audience/field"
)

func TestTrimTakesOffWhatNobodySees(t *testing.T) {
	t.Parallel()
	for _, blank := range []string{" ", "\t", "\r\n", "\v", "\f", "\x00", "\x1f", "\x7f", "\u0085", "\u00a0", "\u00ad",
		"\u1680", "\u180e", "\u2000", "\u2003", "\u2007", "\u2009", "\u200a", "\u200b", "\u200c", "\u200d", "\u200e",
		"\u200f", "\u2028", "\u2029", "\u202a", "\u202c", "\u202f", "\u205f", "\u2060", "\u2066", "\u2069", "\u2800",
		"\u3000", "\u3164", "\ufeff", " \u00a0\u200b "} {
		for _, text := range []string{"gold", "Ö", "10 %", "a b", "山田", "(5)"} {
			for _, padded := range []string{blank + text, text + blank, blank + text + blank, blank + " " + text + " " + blank} {
				if got := field.Trim(padded); got != text {
					t.Errorf("%q: got %q", padded, got)
				}
			}
			inner := text + blank + text
			if got := field.Trim(inner); got != inner {
				t.Errorf("%q: got %q", inner, got)
			}
		}
		if got := field.Trim(blank); got != "" {
			t.Errorf("%q: got %q", blank, got)
		}
	}
	// A heart with its variation selector, the flag of England, a half letter of old Malayalam.
	for _, whole := range []string{"", "❤\ufe0f",
		"\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", "അവന്\u200d"} {
		if got := field.Trim(" " + whole + " "); got != whole {
			t.Errorf("%q: got %q", whole, got)
		}
	}
}

func TestValuesAreKeptByTheDatabasesJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]field.Value{
		`"gold"`: {Text: "gold"}, `""`: {}, `"a\"\\\n"`: {Text: "a\"\\\n"}, `null`: {Kind: field.Null},
		`true`: {Text: "true", Kind: field.Bool}, `false`: {Text: "false", Kind: field.Bool},
		`0`:                                 {Text: "0", Kind: field.Number},
		`-12.50`:                            {Text: "-12.50", Kind: field.Number},
		`123456789012345678901234567890.10`: {Text: "123456789012345678901234567890.10", Kind: field.Number},
		`["a, b", 1]`:                       {Text: `["a, b", 1]`, Kind: field.JSON},
		`{"a": {"b": null}}`: {Text: `{"a": {"b": null}}`,
			Kind: field.JSON},
	} {
		values, err := field.Read(`{"x": "}", "a": ` + text + `, "b": "c"}`)
		if err != nil || values["a"] != want || values["b"] != (field.Value{Text: "c"}) || len(values) != 3 {
			t.Errorf("%s: got %+v, %v", text, values, err)
		}
		again, err := field.Read(`{"a": ` + string(field.AppendJSON(nil, values["a"])) + `}`)
		if err != nil || again["a"] != want {
			t.Errorf("%s: got %+v, %v after a turn", text, again, err)
		}
	}
}

func TestAttributesThatAreNoObjectAreAnErrorThatDoesNotQuoteThem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`["secret"]`, `{"a": secret}`, `{"a": 01}`, `{"a": +1}`, `{"a": 1`, `{"a": tru}`} {
		if _, err := field.Read(text); err == nil || err.Error() != "the attributes of a recipient cannot be read" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzAttributesAreReadAsJSONIs(f *testing.F) {
	for _, text := range []string{`{}`, `{"a": "b"}`, `{"name": "Müller", "x": ""}`, `{"a": "quo\"te", "b": "c"}`,
		`{"a": "\u00e9"}`, `{"a": "b\\"}`, `{"a":"b"}`,
		`{"a": "b", "a": "c"}`, `{"a": 1}`, `{"a": null}`, `{"a": "b"`, `{"a": "b",}`, `null`, ``,
		`{`, `{"": ", "}`, `{"a": "}"}`,
		`{"a": -0.50, "b": true, "c": false, "d": null}`, `{"a": [1, {"b": "c"}], "d": {}}`, `{"a": 1e5}`, `{"a": 01}`,
		`{"a": truex}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return // jsonb prints neither
		}
		var want field.Values
		if json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		if got, err := field.Read(text); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for name, text := range map[string]string{
		"texts": `{"city": "Lübeck", "token": "t0000000000000001", "branch": "Harbour & Quay", ` +
			`"number": "1", "points": "1", "street": "Fischergrube 2", ` +
			`"voucher": "V-00007919", "last_name": "Müller", "first_name": "Ann1"}`,
		"types": `{"city": "Lübeck", "token": "t0000000000000001", "branch": "Harbour & Quay", ` +
			`"number": 1, "points": 484.50, "street": null, ` +
			`"voucher": "V-00007919", "last_name": "Müller", "vip": true}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := field.Read(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
