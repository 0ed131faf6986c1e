package render

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"directmailer/internal/audience/field"
)

// typed are the fields of a recipient of a query.
var typed = field.Values{
	"points": {Text: "484", Kind: field.Number}, "zero": {Text: "0", Kind: field.Number},
	"price": {Text: "12.50", Kind: field.Number}, "debt": {Text: "-1234.505", Kind: field.Number},
	"large": {Text: "12345678901234567890.12", Kind: field.Number}, "million": {Text: "1000000", Kind: field.Number},
	"third": {Text: "0.333333333333333333333", Kind: field.Number},
	"vip":   {Text: "true", Kind: field.Bool}, "left": {Text: "false", Kind: field.Bool},
	"nothing": {Kind: field.Null}, "born": {Text: "1970-01-31"}, "seen": {Text: "2026-03-04 23:30:00.25+01"},
	"until": {Text: "infinity"},
	"tags":  {Text: `["gold", "a & b", 3, null]`, Kind: field.JSON}, "none": {Text: `[]`, Kind: field.JSON},
	"data": {Text: `{"city": "Köln\nSüd", "n": 1.50, "ok": false, "in": {"a": [1, 2]}}`, Kind: field.JSON},
}

func TestAQuerysValuesAreWhatTheyAre(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		// printed
		`{{.points}} {{.zero}} {{.price}} {{.debt}} {{.million}}`: "484 0 12.50 -1234.505 1000000",
		`{{.large}} {{.third}}`:                                   "12345678901234567890.12 0.333333333333333333333",
		`{{.vip}} {{.left}} [{{.nothing}}] {{.born}} {{.seen}}`:   "true false [] 1970-01-31 2026-03-04 23:30:00.25+01",
		`{{.tags}} [{{.none}}]`:                                   "gold, a & b, 3,  []",
		`{{print .price}} {{.price | print}} {{.points | upper}}`: "12.50 12.50 484",
		`{{.data}}`: `{"city":"Köln\nSüd","in":{"a":[1,2]},"n":1.50,"ok":false}`,
		`{{.data.in}} {{.data.in.a}} {{.data.n}} {{.data.ok}}`: `{"a":[1,2]} 1, 2 1.50 false`,
		// true or false
		`{{if .zero}}a{{end}}{{if .left}}b{{end}}{{if .nothing}}c{{end}}{{if .none}}d{{end}}{{if .data.ok}}e{{end}}`: "",
		`{{if .points}}a{{end}}{{if .vip}}b{{end}}{{if .born}}c{{end}}{{if .tags}}d{{end}}{{if .debt}}e{{end}}`:      "abcde",
		`{{if not .vip}}a{{else}}b{{end}}{{if and .vip .left}}c{{else}}d{{end}}{{if or .left .vip}}e{{end}}`:         "bde",

		`{{with .zero}}a{{else}}b{{end}}{{ternary "c" "d" .left}}`: "bd",
		`{{all .vip .zero}}{{any .left .zero .points}}`:            "falsetrue",
		// compared
		`{{gt .points 100}} {{gt .points "100"}} {{lt .debt 0}}`:                                 "true true true",
		`{{eq .price 12.5}} {{eq .price "12.50"}}`:                                               "true true",
		`{{eq .large "12345678901234567890.13"}} {{lt .third 0.3333333333333334}}`:               "false true",
		`{{eq .vip true}} {{eq .vip "yes"}}`:                                                     "true true",
		`{{eq .left "f"}} {{ne .vip .left}} {{lt .born "2000-01-01"}} {{gt .seen "2026-03-04"}}`: "true true true true",
		`{{eq .nothing ""}} {{eq .nothing 0}} {{eq .nothing false}}`:                             "true false false",
		`{{has "gold" .tags}} {{has 3 .tags}}`:                                                   "true true",
		`{{eq .data.n 1.5}} {{gt (default 0 .nothing) 1}} {{has .points (list 1 484)}}`:          "true false true",
		// only what is empty has a default
		`{{default "x" .zero}} {{default "x" .left}} {{default "x" .nothing}} {{default "x" .none}}`: "0 false x x",
		`{{coalesce .nothing .zero 5}} {{empty .zero}} {{empty .nothing}} {{compact .tags | join "+"}}`: "0 false true " +
			"gold+a & b+3",
		// dates
		`{{date "2 Jan 2006" .born}} {{date "15:04 MST" .seen}} {{date "2006" .nothing}}`: "31 Jan 1970 23:30 +0100 ",
		`{{unixEpoch .born}} {{dateIn "de" "January" .born}}`:                             "2592000 Januar",
		// arithmetic and formats
		`{{add .points 16}} {{sub 1 .points}} {{mulf .price 2}} {{mulf .million 1000}} {{divf 1 .million}}`: "500 -483 25 " +
			"1000000000 0.000001",
		`{{printf "%.2f|%8.1f|%+.0f" .price .price .debt}}`: "12.50|    12.5|-1235",
		`{{printf "%-6.1f|%08.2f" .price .debt}}`:           "12.5  |-1234.51",
		`{{printf "%.2f %d %5d %s %v %03d" .points .points .points .price .price .zero}}`: "484.00 484   484 12.50 12.50 " +
			"000",
		`{{printf "%.1e %g %x" .price .price .points}}`:                "1.2e+01 12.5 1e4",
		`{{number "de" 1 (toNumber "de" "1.234.567.890.123.456,78")}}`: "1.234.567.890.123.456,8",
		`{{number "en" 2 .debt}} {{number "en" 2 1.005}} {{number "de" .third}} {{number "en" .points}}`: "-1,234.51 1.01 " +
			"0,333333333333333 484",
		`{{round .debt 1}} {{ceil .price}} {{floor .debt}} {{int .price}} {{int .debt}}`: "-1234.5 13 -1235 12 -1234",
		`{{floor .large}} {{round -0.1 0}}`:                                              "12345678901234567890 0",
		`{{plural "point" "points" .points}}`:                                            "points",
		`{{pluralIn "en" 1 "one" "a" "other" "b"}}`:                                      "a",
		// lists and objects
		`{{range .tags}}[{{.}}]{{end}}{{range .none}}x{{else}}none{{end}}{{range .nothing}}x{{else}}null{{end}}`: "[gold]" +
			"[a & b][3][]nonenull",
		`{{join "; " .tags}}`: "gold; a & b; 3;",
		`{{first .tags}} {{len .tags}} {{index .tags 2}} {{len .none}}`:                                    "gold 4 3 0",
		`{{dig "in" "a" "x" .data}} {{dig "in" "b" "x" .data}} {{dig "a" "x" .nothing}} {{get .data "n"}}`: "1, 2 x x 1.50",
		`[{{first .none}}][{{index .data "gone"}}][{{$x := last .none}}{{$x}}][{{print (first .none)}}]`:   "[][][][]",
		`{{with .data}}[{{index . "gone"}}]{{index $ "points"}}{{end}}{{index . "points" | add 1}}`:        "[]484485",
		`{{toJson .tags}}`: `["gold","a \u0026 b",3,""]`,
		`{{toJson .price}} {{toJson .data.in}} {{toJson .vip}}`: `12.50 {"a":[1,2]} true`,

		`{{(fromJson "{\"a\": 1000000, \"b\": 1e3}").a}} {{fromJson "[1, \"b\"]" | last}}`:                "1000000 b",
		`{{range .points}}x{{break}}{{end}} {{range $i, $x := .tags}}{{$i}}{{end}} {{until .zero | len}}`: "x 0123 0",
	} {
		s := spec()
		s.Subject, s.Text, s.HTML = text+" ", text+" ", "<p>"+text+"</p>"
		if strings.TrimSpace(want) == "" {
			s.Subject, s.Text, s.HTML, want = text+"x", text+"x", "<p>"+text+"x</p>", "x"
		}
		_, env := render(t, s, Recipient{Address: "anna@example.org", Attributes: typed})
		want = strings.TrimRight(want, " ")
		if got := env.GetHeader("Subject"); got != want {
			t.Errorf("%s\nsubject %q\nwant    %q", text, got, want)
		}
		if got := strings.TrimRight(env.Text, " \r\n"); got != want {
			t.Errorf("%s\ntext %q\nwant %q", text, got, want)
		}
		escaped := strings.NewReplacer("&", "&amp;", `"`, "&#34;", "+", "&#43;").Replace(want)
		if got := strings.TrimRight(strings.TrimSuffix(strings.TrimPrefix(env.HTML, "<p>"), "</p>"), " "); got != escaped {
			t.Errorf("%s\nHTML %q\nwant %q", text, got, escaped)
		}
	}
}

func TestWhatAValueIsNotFailsTheRecipient(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{{gt .nothing 100}}`:               "an empty value is compared with a number",
		`{{gt .born 100}}`:                  "only two numbers, two dates",
		`{{gt .vip 1}}`:                     "only two numbers, two dates",
		`{{gt .tags 1}}`:                    "only two numbers, two dates",
		`{{lt .until "2026-01-01"}}`:        "only two numbers, two dates",
		`{{date "2006" .until}}`:            "an argument is not a date",
		`{{date "2006" .points}}`:           "an argument is not a date",
		`{{unixEpoch .points}}`:             "an argument is not a date",
		`{{add .nothing 1}}`:                "an argument is empty, not a number",
		`{{add .price 1}}`:                  "an argument has a fraction",
		`{{add .vip 1}}`:                    "an argument is not a number",
		`{{printf "%d" .price}}`:            "a value does not fit the format",
		`{{printf "%t" .points}}`:           "a value does not fit the format",
		`{{upper .tags}}`:                   "an argument is a list or dict, not a text",
		`{{upper .data}}`:                   "an argument is a list or dict, not a text",
		`{{range .born}}{{end}}`:            "range needs a list",
		`{{.data.gone}}`:                    `no field "gone"`,
		`{{index . "gone"}}`:                `no field "gone"`,
		`{{if (index $ "gone")}}{{end}}`:    `no field "gone"`,
		`{{.born.Year}}`:                    "cannot evaluate .born.Year",
		`{{(toDate "2006" "1999").Local}}`:  "cannot evaluate",
		`{{number "en" 16 .price}}`:         "the digits behind the point must be",
		`{{number "en" (mulf .large 100)}}`: "more than 18 digits",
		`{{int .large}}`:                    "more than 18 digits",
		`{{round .price -1}}`:               "the digits behind the point must be",
		`{{toNumber "de" "12.5"}}`:          "an argument is not a number",
		`{{toNumber "en" "1.234,5"}}`:       "an argument is not a number",
		`{{toNumber "de" "abc"}}`:           "an argument is not a number",
		`{{add "1.234" 1}}`:                 "(1.234 may be either)",
		`{{dig "a" .data}}`:                 "dig takes keys",
		`{{compact .born}}`:                 "compact takes a list",
		`{{divf 1 0}}`:                      "cannot evaluate divf",
		`{{fromJson "{"}}`:                  "cannot evaluate fromJson",
	} {
		s := spec()
		s.Text, s.HTML = text, ""
		to := Recipient{Address: "anna@example.org", Attributes: field.Values{"first_name": {Text: "Anna"}}}
		for name, value := range typed {
			to.Attributes[name] = value
		}
		if p := failure(t, s, to); !strings.Contains(p.Message, want) || p.Line != 1 {
			t.Errorf("%s: got %v, want %s", text, p, want)
		}
	}
}

// Another recipient may have the entry. A field is there for all or for nobody.
func TestAnEntryThatAnObjectLacksIsNoFaultOfTheTemplate(t *testing.T) {
	t.Parallel()
	for text, ofTemplate := range map[string]bool{
		`{{.data.gone}}`: false, `{{with .data}}{{.gone}}{{end}}`: false, `{{.nothing.city}}`: false,
		`{{(fromJson "{}").gone}}`: false, `{{.gone}}`: true, `{{index . "gone"}}`: true, `{{.born.city}}`: true,
	} {
		s := spec()
		s.Text, s.HTML, s.Subject = text, "", "x"
		p := failure(t, s, Recipient{Address: "anna@example.org", Attributes: typed})
		if p.OfTemplate != ofTemplate {
			t.Errorf("%s: %+v", text, p)
		}
	}
}

func TestAFieldThatIsAskedForByItsNameMustExistInHTMLAndInAURL(t *testing.T) {
	t.Parallel()
	s := spec()
	s.HTML = `<p>{{index . "gone"}}</p>`
	if p := failure(t, s, anna()); p.Field != FieldHTML || p.Message != `no field "gone"` {
		t.Errorf("HTML: %+v", p)
	}
	u, problem := CompileURL(`https://www.example.com/{{index . "gone"}}`)
	if problem != nil {
		t.Fatal(problem)
	}
	got, err := u.NewRenderer(t.Context()).Render(anna())
	if err == nil || !strings.Contains(err.Error(), `no field "gone"`) {
		t.Errorf("URL: %q, %v", got, err)
	}
}

func TestNumbersInTheNotationOfALanguageAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"de", "1.234,50", "1234.50"}, {"de", "1.234", "1234"}, {"de", "1.234.567", "1234567"}, {"de", "12,5", "12.5"},
		{"de", "-0,5 %", "-0.5"}, {"de", "1.234,567", "1234.567"}, {"de", "1,234", "1.234"}, {"de", "10,00 €", "10.00"},
		{"en", "1,234.50", "1234.50"}, {"en", "1.234", "1.234"}, {"en", "1,234", "1234"}, {"en", "$1,000", "1000"},
		{"en", "-$5", "-5"}, {"en", "−5", "-5"}, {"en", "20%", "20"}, {"en", "007", "7"}, {"en", "12", "12"},
		{"fr", "1 234,50", "1234.50"}, {"fr", "1\u00a0234,5 €", "1234.5"}, {"fr", "1\u202f234", "1234"},
		{"de-CH", "1'234.50", "1234.50"}, {"de-CH", "1’234.5", "1234.5"}, {"sv", "1 234,5 kr", "1234.5"},
		{"es", "1.234,5", "1234.5"}, {"pl", "12 345,67 zł", "12345.67"}, {"de", "\u00a012,5 ", "12.5"}, {"de", "", ""},
	} {
		got, err := evaluated(t, `{{toNumber .l .x}}`, map[string]any{"l": c[0], "x": c[1]})
		if err != nil || got != c[2] {
			t.Errorf("%s %q: got %q, %v", c[0], c[1], got, err)
		}
	}
	for _, c := range [][2]string{{"de", "1.23"}, {"en", "1,23"}, {"en", "1.234.567"}, {"fr", "1.234,5"}, {"de", "+-5"},
		{"de", "5 6"}, {"de", "12,5 Stück"}, {"en", "1e5"}, {"de", "1,2,3"}} {
		if got, err := evaluated(t, `{{toNumber .l .x}}`, map[string]any{"l": c[0], "x": c[1]}); err == nil {
			t.Errorf("%s %q: got %q", c[0], c[1], got)
		}
	}
}

// Quick templates look at the text of a typed value, the engine at the value.
func TestTypedValuesAreTheSameToQuickTemplatesAndTheEngine(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	kinds := []func() field.Value{
		func() field.Value { return field.Value{Text: fmt.Sprint(rng.IntN(200) - 100), Kind: field.Number} },
		func() field.Value {
			return field.Value{Text: fmt.Sprintf("%.2f", rng.Float64()-0.5), Kind: field.Number}
		},
		func() field.Value { return field.Value{Text: "0.00", Kind: field.Number} },
		func() field.Value { return field.Value{Text: "12345678901234567890.5", Kind: field.Number} },
		func() field.Value { return field.Value{Text: fmt.Sprint(rng.IntN(2) == 0), Kind: field.Bool} },
		func() field.Value { return field.Value{Kind: field.Null} },
		func() field.Value { return field.Value{Text: `["a", 1.50, null]`, Kind: field.JSON} },
		func() field.Value { return field.Value{Text: `[]`, Kind: field.JSON} },
		func() field.Value { return field.Value{Text: `{"a": "<b>"}`, Kind: field.JSON} },
		func() field.Value { return field.Value{Text: values(rng)} },
	}
	for number, page := range pages {
		html, problem := compileHTML(page)
		if problem != nil {
			t.Fatal(problem)
		}
		text, problem := compileText(FieldText, newTemplateText(page))
		if problem != nil {
			t.Fatal(problem)
		}
		for range 200 {
			data := newFields()
			data.set("a", kinds[rng.IntN(len(kinds))]())
			data.set("b", kinds[rng.IntN(len(kinds))]())
			for _, p := range []*part{html, text} {
				engine := *p
				engine.quick = nil
				want, wantErr := engine.execute(&output{}, &data)
				got, err := p.execute(&output{}, &data)
				if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Fatalf("page %d, %s, %q\n got %q, %v\nwant %q, %v", number, p.field, data.values, got, err, want, wantErr)
				}
			}
		}
	}
}

// Each recipient has his own values, whoever was rendered before by the same renderer.
func TestNoRecipientGetsTheValuesOfAnother(t *testing.T) {
	t.Parallel()
	s := spec()
	const text = `{{.first_name}} {{if gt .points 100}}gold{{else}}none{{end}} {{printf "%s" .code}}`
	s.Subject, s.Text, s.HTML = text, text, "<p>"+text+"</p>"
	r := mustCompile(t, s).NewRenderer(t.Context())
	for n := range 20 {
		to := Recipient{Number: int32(n), Address: "anna@example.org", Attributes: field.Values{
			"first_name": {Text: fmt.Sprint("Anna", n)}, "code": {Text: fmt.Sprint("c", n)},
			"points": {Text: fmt.Sprint(n * 20), Kind: field.Number}}}
		want := fmt.Sprintf("Anna%d none c%d", n, n)
		if n > 5 {
			want = fmt.Sprintf("Anna%d gold c%d", n, n)
		}
		out, _, err := r.Render(nil, to)
		if err != nil || bytes.Count(out, []byte(want)) != 3 {
			t.Errorf("want %s three times: %s, %v", want, out, err)
		}
	}
}
