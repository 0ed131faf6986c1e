package render

import (
	"bytes"
	"errors"
	"maps"
	"os"
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
		_, _, err := mustCompile(t, s).NewRenderer().Render(nil, anna("x", "SECRET", "none", ""))
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
		if p.Field != FieldText || time.Since(start) > 20*time.Second {
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
	if len(examples) < 20 {
		t.Errorf("%d examples", len(examples))
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
