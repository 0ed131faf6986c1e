package smtp_test

import (
	"strings"
	"testing"

	"directmailer/internal/delivery/smtp"
)

func TestAQuotationHoldsNothingOfTheRecipientsAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<jane.doe@mail.example>: unknown":            "… unknown",
		"no mailbox jane.doe here":                    "no mailbox … here",
		"no mail for mail.example today":              "no mail for … today",
		"jane.doe%40mail.example is closed":           "… is closed",
		"closed, write to postmaster@example.com":     "closed, write to …",
		"Daily user sending limit exceeded, see 5.4.": "Daily user sending limit exceeded, see 5.4.",
	} {
		if got := smtp.Quote(smtp.Words(text, "Jane.Doe@mail.example")); got != want {
			t.Errorf("%q is quoted as %q, want %q", text, got, want)
		}
	}
	if got := smtp.Quote(smtp.Words(strings.Repeat("long ", 100), "")); len(got) > 170 {
		t.Errorf("%d octets", len(got))
	}
}
