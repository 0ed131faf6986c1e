package mailing

import (
	"strings"
	"testing"
	"time"

	"directmailer/internal/ledger"
)

func TestACellThatASpreadsheetWouldRunIsGuarded(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                      "",
		"a@example.com":         "a@example.com",
		"=cmd@example.com":      "'=cmd@example.com",
		"+1@example.com":        "'+1@example.com",
		"-x":                    "'-x",
		"@SUM(A1)":              "'@SUM(A1)",
		"  =1+1":                "'  =1+1",
		"\t=1+1":                "' =1+1",
		"550 no\r\n=such":       "550 no  =such",
		"\x1b[31mred":           " [31mred",
		"  ":                    "  ",
		"\x00":                  " ",
		"\x1b =1":               "'  =1",
		"\u00a0\u2003+1":        "'\u00a0\u2003+1",
		"\u200b@SUM(A1)":        "' @SUM(A1)",
		"＝1+1":                  "'＝1+1",
		"550 ok;=1+1":           "550 ok;'=1+1",
		"a; \"=1;2;-1":          "a; \"'=1;2;'-1",
		";=1":                   ";'=1",
		"=1;＋2|@x":              "'=1;'＋2|'@x",
		"'=1":                   "''=1",
		"a;b=1; c-d":            "a;b=1; c-d",
		"\xff":                  "?",
		"550 5.1.1 \u202ecilam": "550 5.1.1  cilam",
	} {
		if got := guard(in); got != want {
			t.Errorf("guard(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAReportLineHasTheColumnsOfItsHeader(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	record := appendRecord(
		nil,
		ledger.Line{
			Address:       "a@example.com",
			Outcome:       ledger.Bounced,
			Attempts:      2,
			PossiblyTwice: true,
			DropPoint:     "mx",
			Code:          550,
			Enhanced:      "5.1.1",
			Reply:         "no such user",
			At:            &at,
		},
	)
	want := "a@example.com bounced 2 true mx 550 5.1.1 no such user 2026-11-23T10:00:00Z "
	if got := strings.Join(record, " "); got != want || len(record) != len(reportHeader) {
		t.Errorf("got %q in %d columns, want %q in %d", got, len(record), want, len(reportHeader))
	}
	open := appendRecord(nil, ledger.Line{Address: "b@example.com", Outcome: ledger.Open})
	if got := strings.Join(open, ","); got != "b@example.com,open,0,false,,,,,," {
		t.Errorf("an open recipient is %q", got)
	}
}
