package render

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"
)

func TestHelpersTakeFieldsAsTheyCome(t *testing.T) {
	t.Parallel()
	fields := map[string]any{
		"name":   "anna-maria o'neil",
		"n":      "3",
		"many":   1234567,
		"price":  "1234.5",
		"empty":  "",
		"joined": "2026-03-04",
		"time":   noon,
		"vip":    "FALSE",
		"zip":    "01234",
		"long":   "Größenwahnsinnig",
		"lines":  "a & b\nc",
		"plan":   "gold ",
	}
	for text, want := range map[string]string{
		`{{default "friend" .empty}}`: "friend", `{{.empty | default "friend"}}`: "friend",
		`{{.name | default "friend"}}`: "anna-maria o'neil", `{{coalesce .empty .n}}`: "3",
		`{{upper .name}}`: "ANNA-MARIA O'NEIL", `{{.name | title}}`: "Anna-Maria O'Neil",
		`{{title "it's a DAY"}}`: "It's A DAY", `{{title "élise"}}`: "Élise", `{{initials .name}}`: "ao",
		`{{trim "  a "}}`:   "a",
		`{{trunc 4 .long}}`: "Größ", `{{trunc -3 .long}}`: "nig", `{{substr 1 3 .long}}`: "rö", `{{abbrev 5 .long}}`: "Größ…",
		`{{abbrev 50 .long}}`: "Größenwahnsinnig", `{{substr 5 -1 .zip}}`: "",
		`{{date "2 January 2006" .joined}}`: "4 March 2026", `{{.time | date "15:04"}}`: "12:00",
		`{{date "2006" .empty}}`: "", `{{dateIn "de" "Monday, 2. January 2006" .joined}}`: "Mittwoch, 4. März 2026",
		`{{dateIn "fr-FR" "2 January" .joined}}`: "4 mars", `{{dateIn "pl" "2 January" .joined}}`: "4 marca",
		`{{toDate "02.01.2006" "31.12.2025" | date "2006-01-02"}}`: "2025-12-31",
		`{{dateIn "de-AT" "January" "2026-05-01"}}`:                "Mai",
		`{{dateIn "es-MX" "January" "2026-05-01"}}`:                "mayo",
		`{{dateIn "no" "January" "2026-05-01"}}`:                   "mai", `{{dateIn "en" "January" "2026-05-01"}}`: "May",
		`{{number "de" .price}}`: "1.234,5", `{{number "de" 2 .price}}`: "1.234,50", `{{number "en" .many}}`: "1,234,567",
		`{{number "de-CH" 0 "1234.6"}}`: "1’235", `{{number "en" 0.1}}`: "0.1", `{{.price | number "fr" 2}}`: "1\u00a0234,50",
		`{{number "en" 3}}`:              "3",
		`{{plural "point" "points" .n}}`: "points", `{{plural "point" "points" 1}}`: "point",
		`{{pluralIn "pl" .n "one" "plik" "few" "pliki" "other" "plików"}}`: "pliki",
		`{{pluralIn "pl" 5 "one" "plik" "few" "pliki" "other" "plików"}}`:  "plików",
		`{{pluralIn "en" 1 "one" "file" "other" "files"}}`:                 "file",
		`{{pluralIn "en" "1.5" "one" "file" "other" "files"}}`:             "files",
		`{{pluralIn "ru" 12345678901 "one" "a" "other" "b"}}`:              "a",
		`{{add .n 1}}`: "4", `{{sub .n 1}}`: "2", `{{mul .n "4"}}`: "12", `{{div 7 .n}}`: "2", `{{mod 7 .n}}`: "1",
		`{{addf .price 0.5}}`: "1235", `{{round .price 0}}`: "1235", `{{int .price}}`: "1234", `{{max .n 5}}`: "5",
		`{{float64 .n | printf "%.2f"}}`: "3.00",
		`{{int .n | printf "%03d"}}`:     "003", `{{repeat .n "*"}}`: "***", `{{add1 (atoi .n)}}`: "4",
		`{{floor .price}}`:            "1234",
		`{{ternary "yes" "no" .vip}}`: "no", `{{if has .plan (list "gold" "silver")}}a{{end}}`: "a",
		`{{if has .n (list 1 2 3)}}a{{end}}`: "a", `{{get (dict "de" "Hallo" "en" "Hello") "de"}}`: "Hallo",
		`{{has "c" (splitList "," "a,b,c")}}`: "true",
		`{{"a b&c" | urlquery}}`:              "a+b%26c", `{{replace "-" " " .name}}`: "anna maria o'neil",
		`{{contains "maria" .name}}`: "true", `{{hasPrefix "anna" .name}}`: "true", `{{join ", " (list "a" "b")}}`: "a, b",
		`{{regexReplaceAll "[0-9]+" "a1b" "x"}}`:      "axb",
		`{{range splitList "," "a,b"}}[{{.}}]{{end}}`: "[a][b]", `{{(splitn "-" 2 .name)._0}}`: "anna",
		`{{upper .many}}`: "1234567", `{{len .n}}`: "1", `{{slice .zip 1 3}}`: "12", `{{lineBreaks .lines}}`: "a & b\nc",
		`{{quote .n}}`:                  `"3"`,
		`{{range until 3}}{{.}}{{end}}`: "012", `{{sha256sum "a" | trunc 6}}`: "ca9781", `{{b64enc "a"}}`: "YQ==",
		`{{empty .empty}}`: "true", `{{printf "%s %v" .name .n}}`: "anna-maria o'neil 3", `{{printf "100%%"}}`: "100%",
		`{{(fromJson "{\"a\":1}").a}}`: "1",
	} {
		if got, err := evaluated(t, text, fields); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", text, got, err, want)
		}
	}
	got := sent(t, `<p>{{lineBreaks .x}}</p><p title="{{lineBreaks .x}}">`, "x", "<a>\nb")
	if got != "<p>&lt;a&gt;<br>\nb</p><p title=\"&lt;a&gt;\nb\">" {
		t.Error(got)
	}
}

func TestAHelperThatCannotTakeAValueFailsTheRecipientWithTheReason(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{{add .x 1}}`:                               "cannot evaluate add .x 1: an argument is not a number",
		`{{add .none 1}}`:                            "an argument is empty, not a number: use default",
		`{{add "1.5" 1}}`:                            "an argument has a fraction: use addf",
		`{{int .x}}`:                                 "not a number",
		`{{number "de" .x}}`:                         "not a number",
		`{{number "no language" 1}}`:                 "the language is not known",
		`{{date "2006" .x}}`:                         "an argument is not a date",
		`{{dateIn "xx-yy-zz" "2006" "2026-01-01"}}`:  "the language is not known",
		`{{dateIn "sw" "2006" "2026-01-01"}}`:        "the language is not known",
		`{{toDate "2006" .x}}`:                       "not a date",
		`{{plural "a" "b" .x}}`:                      "not a number",
		`{{pluralIn "en" 1 "one" "a"}}`:              `with "other" among them`,
		`{{pluralIn "en" 1 "one" "a" "others" "b"}}`: "the forms of pluralIn",
		`{{printf "%d" .x}}`:                         "a value does not fit the format",
		`{{printf "%.2f" "12"}}`:                     "a value does not fit the format",
		`{{printf "%s"}}`:                            "a value does not fit the format",
		`{{div 1 0}}`:                                "cannot evaluate div 1 0",
		`{{fail .x}}`:                                "cannot evaluate fail .x",
		`{{upper (list "a")}}`:                       "an argument is a list or dict, not a text",
		`{{repeat -1 "a"}}`:                          "cannot evaluate repeat",
		`{{mustFromJson .x}}`:                        "cannot evaluate mustFromJson",
	} {
		s := spec()
		s.Text, s.HTML = text, ""
		_, _, err := mustCompile(t, s).NewRenderer(t.Context()).Render(nil, anna("x", "SECRET", "none", ""))
		p := &Problem{}
		if !errors.As(err, &p) || !strings.Contains(p.Message, want) || strings.Contains(p.Error(), "SECRET") ||
			p.Line != 1 {
			t.Errorf("%s: got %v, want %s", text, p, want)
		}
	}
}

// The same recipient must get the same octets again, on any machine: no helper reads the clock, the
// environment, the network or a random source. Each name that sprig has is here or is left out
// knowingly.
func TestHelpersGiveTheSameAgain(t *testing.T) {
	t.Parallel()
	leftOut := wordSet(
		`hello ago date_in_zone date_modify dateInZone dateModify durationRound htmlDate htmlDateInZone must_date_modify
		mustDateModify mustToDate now
		randAlphaNum randAlpha randAscii randNumeric randInt randBytes shuffle uuidv4 env expandenv getHostByName
		osBase osClean osDir osExt osIsAbs
		bcrypt htpasswd genPrivateKey derivePassword buildCustomCert genCA genCAWithKey
		genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey
		encryptAES decryptAES keys values semver semverCompare slice mustSlice trimall abbrevboth toDecimal`,
	)
	for name := range sprig.GenericFuncMap() {
		if _, there := helpers()[name]; there == leftOut[name] {
			t.Errorf("%s of sprig: a helper is %v, left out is %v", name, there, leftOut[name])
		}
	}
	for name := range wordSet(sprigHelpers) {
		if sprig.GenericFuncMap()[name] == nil {
			t.Errorf("sprig has no %s", name)
		}
	}
	for _, name := range slices.Collect(maps.Keys(leftOut)) {
		if _, problem := compileText(FieldText, newTemplateText("{{"+name+"}}")); problem == nil && name != "slice" {
			t.Errorf("%s can be called", name)
		}
	}
	template := `{{dict "b" 1 "a" 2}} {{toJson (dict "b" 1 "a" 2 "c" 3)}} ` +
		`{{range $k, $v := dict "b" 1 "a" 2}}{{$k}}{{$v}}{{end}} {{uniq (list 3 1 2 3)}} {{pick (dict "a" 1 "b" 2) "b" "a"}}`
	first := ""
	for range 50 {
		got, err := evaluated(t, template, nil)
		if err != nil || first != "" && got != first {
			t.Fatalf("got %s, then %s, %v", first, got, err)
		}
		first = got
	}
}

// everyCall calls each function that a template can call, with arguments of many kinds, and returns
// what they answer. It fails the test for a result whose methods a template must not call.
func everyCall(t *testing.T) string {
	t.Helper()
	arguments := []any{"2026-01-31", "31.12.2025 CET", "02.01.2006 MST", "15:04 -0700", "de", "a,b", "/a/../b", 2, 12.5,
		[]any{"b", "a"}, map[string]any{"b": 1, "a": "2026-01-31 10:00:00+01"}, moment{day, true}}
	var out strings.Builder
	all := functions(true)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := reflect.ValueOf(all[name])
		for _, list := range lists(arguments, min(f.Type().NumIn(), 3)) {
			call := fmt.Sprint(name, list) // before set changes a dict
			fmt.Fprintf(&out, "%s: %s\n", call, answer(t, name, f, list))
		}
	}
	for _, text := range []string{
		`{{toDate "02.01.2006 MST" "31.12.2025 CET"}} {{toDate "2006 -0700" "2025 +0900" | date "MST Z07:00"}}`,
		`{{date "15:04 MST" "2026-07-01 10:00:00+02"}} {{date "MST" "2026-07-01T10:00:00+09:00"}} {{unixEpoch "2026-07-01"}}`,
		`{{html "<"}} {{js "'"}} {{print 1.5 "a"}} {{println}} {{slice "abc" 1}}`,
		`{{index (list 1 2) 1}} {{len "a"}} {{urlquery "ä"}}`,
	} {
		got, err := evaluated(t, text, nil)
		fmt.Fprintf(&out, "%s: %s %v\n", text, got, err)
	}
	return out.String()
}

// lists returns every list of n of the values.
func lists(of []any, n int) (all [][]any) {
	if n == 0 {
		return [][]any{nil}
	}
	for _, rest := range lists(of, n-1) {
		for _, each := range of {
			all = append(all, append(slices.Clone(rest), each))
		}
	}
	return all
}

func answer(t *testing.T, name string, f reflect.Value, list []any) string {
	t.Helper()
	in := make([]reflect.Value, len(list))
	for i, each := range list {
		want := f.Type().In(i)
		if f.Type().IsVariadic() && i == f.Type().NumIn()-1 {
			want = want.Elem()
		}
		if dict, ok := each.(map[string]any); ok {
			each = maps.Clone(dict)
		}
		if in[i] = reflect.ValueOf(each); !in[i].Type().AssignableTo(want) {
			return "not called"
		}
	}
	defer func() { _ = recover() }()
	out := f.Call(in)
	wantNoMethods(t, name, out[0])
	results := make([]any, len(out))
	for i := range out {
		results[i] = out[i].Interface()
	}
	return fmt.Sprint(results...)
}

// wantNoMethods fails the test for a result that has other methods than those that print it: a
// template could call them, and time.Time's Local looks at the machine.
func wantNoMethods(t *testing.T, name string, result reflect.Value) {
	t.Helper()
	if result.Kind() == reflect.Interface && !result.IsNil() {
		result = result.Elem()
	}
	for i := range result.Type().NumMethod() {
		switch method := result.Type().Method(i).Name; method {
		case "String", "Format", "MarshalJSON":
		default:
			t.Errorf("%s returns a %s, and a template can call its %s", name, result.Type(), method)
		}
	}
}

const inOtherSurroundings = "TEST_PRINT_EVERY_CALL"

// The whole map of functions is called here and in another process, elsewhere and later: with
// another time zone, language, home, folder and seed.
func TestNoHelperLooksAtItsSurroundings(t *testing.T) {
	got := everyCall(t)
	if os.Getenv(inOtherSurroundings) != "" {
		fmt.Printf("BEGIN\n%sEND\n", got)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoHelperLooksAtItsSurroundings$")
	cmd.Dir = t.TempDir()
	cmd.Env = []string{inOtherSurroundings + "=1", "TZ=Asia/Tokyo", "LANG=ja_JP.UTF-8", "LC_ALL=ja_JP.UTF-8",
		"HOME=" + cmd.Dir,
		"USER=other", "2026-01-31=x", "de=x"}
	out, err := cmd.Output()
	_, there, _ := strings.Cut(string(out), "BEGIN\n")
	there, _, ended := strings.Cut(there, "END\n")
	if err != nil || !ended {
		t.Fatal(err, string(out))
	}
	if there != got {
		here, elsewhere := strings.Split(got, "\n"), strings.Split(there, "\n")
		for i := range min(len(here), len(elsewhere)) {
			if here[i] != elsewhere[i] {
				t.Fatalf("here  %s\nthere %s", here[i], elsewhere[i])
			}
		}
		t.Errorf("%d lines, %d lines", len(here), len(elsewhere))
	}
	if strings.Count(got, "\n") < 10_000 {
		t.Errorf("%d calls", strings.Count(got, "\n"))
	}
}

func TestHelpersDoNotRunAway(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{{repeat 1000000000000 "x"}}`, `{{repeat 1000000 (repeat 1000000 "x")}}`, `{{indent 1000000000 "x"}}`,
		`{{until 1000000000}}`, `{{untilStep 0 1000000000 1}}`, `{{seq 1 1000000000}}`,
		`{{seq -9223372036854775807 9223372036854775807}}`,
		`{{$x := "xx"}}{{range 64}}{{$x = cat $x $x}}{{end}}{{$x}}`,
		`{{$x := "xx"}}{{range 64}}{{$x = list $x $x}}{{end}}{{$x}}`,
		`{{$x := list "x"}}{{range 64}}{{$x = concat $x $x}}{{end}}{{$x}}`,
		`{{$x := "\\"}}{{range 64}}{{$x = quote $x}}{{end}}{{$x}}`,
		`{{$x := repeat 100000 "x"}}{{replace "x" $x $x}}`, `{{$x := repeat 100000 "x"}}{{regexReplaceAll "x" $x $x}}`,
		`{{$x := repeat 100000 "x"}}{{join $x (splitList "" $x)}}`, `{{$d := dict "a" 1}}{{$d := set $d "a" $d}}{{$d}}`,
		`{{$x := "x"}}{{range 64}}{{$x = printf "%s%s" $x $x}}{{end}}{{$x}}`,
		`{{$x := dict}}{{range 64}}{{$x = dict "a" $x "b" $x}}{{end}}{{$x}}`,
		`{{$x := repeat 100000 "x "}}{{wrapWith 1 $x $x}}`,
	} {
		s := spec()
		s.Text, s.HTML = text, ""
		start := time.Now()
		p := failure(t, s, anna())
		if p.Field != FieldText || time.Since(start) > time.Minute {
			t.Errorf("%s: %v after %v", text, p, time.Since(start))
		}
	}
}

// The examples of docs/templates.md are what the templates do.
func TestTheExamplesOfTheDocumentAreTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{
		"first_name": "anna",
		"nobody":     "",
		"city":       "köln",
		"points":     "484",
		"price":      "1234.5",
		"joined":     "2026-01-31",
		"vip":        "no",
		"plan":       "gold",
		"language":   "de",
		"address":    "Main Street 1\nSpringfield",
		"count":      "2",
		"amount":     "1.234,50",
		"birthday":   "31.01.1990",
		"balance":    "-12.50",
	}
	examples := regexp.MustCompile("(?m)^\\| `(\\{\\{.*?\\}\\})` \\| (.*?) \\|$").FindAllSubmatch(page, -1)
	for _, each := range examples {
		want := string(bytes.Trim(each[2], "`"))
		if got, err := evaluated(t, strings.ReplaceAll(string(each[1]), `\|`, "|"), fields); err != nil || got != want {
			t.Errorf("%s is %q, %v; the document says %q", each[1], got, err, want)
		}
	}
	for _, name := range []string{"default", "upper", "title", "date", "dateIn", "toDate", "urlquery", "number",
		"toNumber",
		"plural", "pluralIn", "if", "eq", "gt", "has", "not"} {
		if !slices.ContainsFunc(examples,
			func(each [][]byte) bool { return regexp.MustCompile(`\b` + name + `\b`).Match(each[1]) }) {
			t.Errorf("the document has no example with %s", name)
		}
	}
	for name := range wordSet(sprigHelpers) {
		if !bytes.Contains(page, []byte("`"+name+"`")) {
			t.Errorf("%s is not in the document", name)
		}
	}
	for name := range ownHelpers {
		if !bytes.Contains(page, []byte("`"+name+"`")) && name != "mustHas" {
			t.Errorf("%s is not in the document", name)
		}
	}
}
