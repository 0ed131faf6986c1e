package render

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// evaluated executes a text template over fields of any type, as a query gives them.
func evaluated(t *testing.T, text string, fields map[string]any) (string, error) {
	t.Helper()
	p, problem := compileText(FieldText, newTemplateText(text))
	if problem != nil {
		t.Fatalf("%s: %v", text, problem)
	}
	o := output{budget: newBudget(t.Context())}
	err := p.engine(o.budget).Execute(&o, fields)
	return string(o.b), err
}

var (
	day  = time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
)

func TestTruthIsWhatAnAuthorMeans(t *testing.T) {
	t.Parallel()
	no := []any{
		"",
		" ",
		"0",
		"0.0",
		"-0",
		"00",
		"false",
		"FALSE",
		"False",
		"no",
		"No",
		" n ",
		"N",
		"f",
		"off",
		"nein",
		"FALSCH",
		"FAUX",
		"não",
		"nee", "NEJ", "Nie", "нет", "ЛОЖЬ", "FAŁSZ", "none", "NULL", "n/a", "-", "–", "\u00a0", "\u200b", "\ufeff no \u00a0",
		"0,00", "-0,0", "0 %", "0%", "0,00 €", "€ 0", "$0.00", "0 EUR", "EUR 0,00", "0 kr", "0.000,00", "0’000",
		decimal("0.00"), decimal("-0.0"), moment{}, listValue{}, dictValue{},
		false,
		0,
		int64(0),
		0.0,
		uint8(0),
		nil,
		time.Time{},
		new(big.Rat),
		[]byte("f"),
		[]any{},
	}
	yes := []any{
		"1",
		"true",
		"TRUE",
		"yes",
		"t",
		"x",
		"gold",
		"-1",
		"0.5",
		"00.1",
		"none of it",
		"Nora",
		"0x0",
		"00-1",
		"½",
		"0,5", "0,01 €", "10 %", "-1 %", "0+", "A0", "0:00", "0/1", "Nie da", "Norbert", "-x", "€", "00:00",
		decimal("0.01"), decimal("-5"), moment{noon, false}, listValue{""}, dictValue{"a": ""},
		true,
		1,
		-1,
		0.5,
		uint64(1),
		day,
		big.NewInt(7),
		[]byte("t"),
		[]any{""},
	}
	for want, values := range map[bool][]any{false: no, true: yes} {
		for _, value := range values {
			for text, outcome := range map[string]string{
				"{{if .x}}true{{else}}false{{end}}":                             fmt.Sprint(want),
				"{{if not .x}}false{{else}}true{{end}}":                         fmt.Sprint(want),
				"{{.x | not | not}}":                                            fmt.Sprint(want),
				"{{with .x}}true{{else}}false{{end}}":                           fmt.Sprint(want),
				"{{if and .x .one}}true{{else}}false{{end}}":                    fmt.Sprint(want),
				"{{if or .none .x}}true{{else}}false{{end}}":                    fmt.Sprint(want),
				"{{if .x | and .one}}true{{else}}false{{end}}":                  fmt.Sprint(want),
				"{{if $y := .x}}true{{else}}false{{end}}":                       fmt.Sprint(want),
				"{{if .none}}{{else if (or .x .none)}}true{{else}}false{{end}}": fmt.Sprint(want),
				`{{ternary "true" "false" .x}}`:                                 fmt.Sprint(want),
				"{{or .none (and .one .x) | not | not}}":                        fmt.Sprint(want),
			} {
				if got, err := evaluated(t, text, map[string]any{"x": value, "one": "1", "none": "no"}); err != nil ||
					got != outcome {
					t.Errorf("%T %v: %s is %s, %v", value, value, text, got, err)
				}
			}
		}
	}
	for text, want := range map[string]string{
		`{{or .none "friend"}}`: "friend", `{{with .one}}{{.}}{{end}}`: "1", `{{and .one "b"}}`: "b",
		`{{if or .one .gone}}a{{end}}`: "a", `{{if and .none .gone}}a{{end}}`: "",
	} {
		if got, err := evaluated(t, text, map[string]any{"one": "1", "none": "no"}); err != nil || got != want {
			t.Errorf("%s is %q, %v", text, got, err)
		}
	}
}

func TestComparisonsAreWhatAnAuthorMeans(t *testing.T) {
	t.Parallel()
	berlin := time.FixedZone("", 2*60*60)
	for _, c := range []struct {
		a, b any
		// "<", "=", ">"; "≠" or "≠=" for values that have no order; "?" when nothing is certain
		want string
	}{
		// numbers
		{"20", "100", "<"}, {"484", "100", ">"}, {"20", 100, "<"}, {"100", 100, "="}, {"100.0", 100, "="},
		{"100.00", "100", "="}, {" 100 ", "100", "="}, {"0.1", 0.1, "="}, {0.1, "0.10", "="},
		{"-5", "3", "<"}, {"-5", "-10", ">"}, {"-0.5", 0, "<"}, {"-5", -5, "="}, {"1e3", 1000, "="}, {"007", 7, "="},
		{"9007199254740993", "9007199254740992", ">"}, {9007199254740993, "9007199254740992", ">"}, {int64(5), 5.0, "="},
		{uint64(1 << 63), 5, ">"},
		{big.NewRat(1, 2), "0.5", "="}, {"12345678901234567890", "12345678901234567891", "<"}, {5, 3.5, ">"},
		{"+5", 5, "="}, {"\u200b20\u00a0", "20", "="},
		{decimal("12.50"), 12.5, "="}, {decimal("12.50"), "12.5", "="}, {decimal("0.30000000000000001"), 0.3, ">"},
		{decimal("12345678901234567890.1"), decimal("12345678901234567890.2"), "<"}, {decimal("1.234"), 1000, "<"},
		{decimal("-3"), int64(-3), "="},
		{"1.5", 1, ">"}, {"0.125", "0.5", "<"}, {"1234.567", 1000, ">"},
		// texts
		{"gold", "gold   ", "="}, {"gold", "\u00a0gold\ufeff", "="}, {"gold", "silver", "<"}, {"gold", "Gold", ">"},
		{"anna", "Zoe", "<"}, {"TRUE", "true", "="}, {"No", "no", "="}, {"", "", "="}, {"", "  ", "="}, {"", "a", "<"},
		{nil, "", "="},
		// dates and times
		{"2026-01-31", "2026-02-01", "<"}, {"2026-01-31", "2026-01-31 00:00", "="}, {day, "2026-03-04", "="},
		{noon, "2026-03-04", ">"}, {noon, "2026-03-04T13:00:00+01:00", "="}, {day, noon, "<"},
		{"2026-03-04 12:00:00+00", noon, "="},
		{"2026-03-04 12:00:00.5", "2026-03-04 12:00", ">"}, {"2026-03-04 00:30:00+02", "2026-03-04", ">"},
		{"2026-03-03 23:30:00-05", "2026-03-04", "<"}, {"2026-03-04 00:00:00+05:30", "2026-03-04", "="},
		{moment{time.Date(2026, 3, 4, 0, 0, 0, 0, berlin), true}, "2026-03-04", "="},
		{"1890-01-01 00:00:00+00:53:28", "1890-01-01", "="}, {"09:30", "12:00", "<"}, {"9:30", "10:00", "<"},
		{"09:30:00", "9:30", "="}, {"09:30:00.5", "09:30", ">"},
		// yes and no
		{true, "TRUE", "≠="}, {true, "yes", "≠="}, {false, "no", "≠="}, {true, "no", "≠"}, {true, 1, "≠="},
		{true, "maybe", "≠"}, {false, "f", "≠="}, {true, true, "≠="}, {true, "Ja", "≠="}, {false, "nee", "≠="},
		{false, "", "≠"},
		// no order
		{"", 100, "≠"}, {nil, 100, "≠"}, {"", "100", "≠"}, {"", "2026-01-31", "≠"}, {"abc", 100, "≠"}, {"12,5", 12, "≠"},
		{"abc", "100", "≠"}, {day, 5, "≠"}, {"NaN", 1, "≠"}, {"0x10", 16, "≠"}, {"1_000", 1000, "≠"},
		{"12,5", "100", "≠"}, {"1.234", "5", "≠"}, {"1,234", 100, "≠"}, {"20 %", "100 %", "≠"}, {"€ 20", "€ 100", "≠"},
		{"31.01.2026", "01.02.2026", "≠"}, {"1/31/2026", "2/1/2026", "≠"}, {"999,00", "1.234,50", "≠"}, {"v9", "v10", "≠"},
		{"1.234", 1.234, "≠="},
		{"A1", "A", "≠"}, {"(5)", 5, "≠"}, {"infinity", "2026-01-31", "≠"}, {"2026-01-31", 5, "≠"},
		{listValue{"a"}, "b", "≠"}, {"42,5", "42", "≠"}, {"01.02.2026", "2026-03-31", "≠"},
		// one of them may be what the other is
		{"12,50", 12.5, "?"}, {"12,50", "12.5", "?"}, {"1.234", 1234, "?"}, {"1.234", "1234", "?"}, {"1,234", "1234", "?"},
		{"1.234,50", decimal("1234.50"), "?"}, {"1,234.50", "1234.5", "?"}, {"1’234.50", 1234.5, "?"},
		{"1 234,50", 1234.5, "?"},
		{"1.234,567", 1234.567, "?"}, {"1.234.567", 1234567, "?"}, {"0,5", 0.5, "?"}, {"0,123", 0.123, "?"},
		{"10 %", 10, "?"}, {"10%", "10", "?"}, {"€ 10", 10, "?"}, {"10,00 €", "10", "?"}, {"EUR 10", 10, "?"},
		{"10 kr", 10, "?"}, {"−5", -5, "?"}, {"-€5", -5, "?"}, {"$1,000", 1000, "?"}, {"12,50", "12,5", "?"},
		{"31.01.2026", "2026-01-31", "?"}, {"1/31/2026", "2026-01-31", "?"}, {"31/1/2026", "2026-01-31", "?"},
		{"1/2/2026", "2026-01-02", "?"}, {"1/2/2026", "2026-02-01", "?"}, {"31 January 2026", "2026-01-31", "?"},
		{"20260131", "2026-01-31", "?"},
	} {
		fields := map[string]any{"a": c.a, "b": c.b}
		uncertain := c.want == "?"
		equal := strings.HasSuffix(c.want, "=")
		for text, want := range map[string]bool{"{{eq .a .b}}": equal, "{{eq .b .a}}": equal, "{{ne .a .b}}": !equal,
			`{{eq .a "nothing" .b}}`: equal, "{{.b | eq .a}}": equal, "{{has .a (list .b)}}": equal} {
			got, err := evaluated(t, text, fields)
			if (err != nil) != uncertain || err == nil && got != fmt.Sprint(want) {
				t.Errorf("%T %v, %T %v: %s is %s, %v", c.a, c.a, c.b, c.b, text, got, err)
			}
		}
		for text, holds := range map[string]string{"{{lt .a .b}}": "<", "{{le .a .b}}": "<=", "{{gt .a .b}}": ">",
			"{{ge .a .b}}": ">="} {
			got, err := evaluated(t, text, fields)
			if uncertain || strings.HasPrefix(c.want, "≠") {
				if err == nil {
					t.Errorf("%T %v, %T %v: %s is %s", c.a, c.a, c.b, c.b, text, got)
				}
			} else if err != nil || got != fmt.Sprint(strings.Contains(holds, c.want)) {
				t.Errorf("%T %v, %T %v: %s is %s, %v", c.a, c.a, c.b, c.b, text, got, err)
			}
		}
	}
	if _, err := evaluated(t, "{{eq .a}}", map[string]any{"a": "b"}); err == nil {
		t.Error("eq with one argument")
	}
}

// The codes of articles are texts, and telephone numbers, too.
func TestACodeIsNoNumberWhereItIsComparedWithACode(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{{"007", "7"}, {"01234", "1234"}, {"+4930", "4930"}, {"1.2.3", "1.2"},
		{"10-20", "10"}} {
		for text, want := range map[string]string{"{{eq .a .b}}": "false", "{{ne .b .a}}": "true"} {
			if got, err := evaluated(t, text, map[string]any{"a": pair[0], "b": pair[1]}); err != nil || got != want {
				t.Errorf("%v: %s is %s, %v", pair, text, got, err)
			}
		}
	}
}

func TestAComparisonThatHasNoAnswerFailsTheRecipientWithWhatToWrite(t *testing.T) {
	t.Parallel()
	for _, html := range []bool{false, true} {
		s := spec()
		text := "Dear\n{{if gt .points 100}}a{{else}}b{{end}}"
		if s.Text = text; html {
			s.HTML = text
		}
		field := map[bool]string{false: FieldText, true: FieldHTML}[html]
		for value, want := range map[string]string{
			"many": field + " line 2, column 6: cannot evaluate gt .points 100: only two numbers, " +
				"two dates (2026-01-31), two times (09:30) or two texts without digits can be compared",
			"1,234": field + " line 2, column 6: cannot evaluate gt .points 100: only two numbers",
			"": field + " line 2, column 6: cannot evaluate gt .points 100: an empty value is compared with a number or a " +
				"date: use default",
		} {
			if p := failure(t, s, anna("points", value)); !strings.HasPrefix(p.Error(), want) ||
				strings.Contains(p.Error(), "many") ||
				strings.Contains(p.Error(), "1,234") {
				t.Errorf("%q: got %v, want %s", value, p, want)
			}
		}
		s.Text, s.HTML = `{{if gt (default 0 .points) "100"}}a{{else}}b{{end}}`, ""
		if _, env := render(t, s, anna("points", "")); strings.TrimSpace(env.Text) != "b" {
			t.Errorf("with default: %q", env.Text)
		}
	}
}
