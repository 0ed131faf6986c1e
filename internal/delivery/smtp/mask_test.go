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

// The bounce address of a recipient names the recipient, and differs from one to the next.
func TestAQuotationHoldsNothingOfTheRecipientsBounceAddress(t *testing.T) {
	t.Parallel()
	const token = "b-c4aaqlkicaaebagbafaydqqcdefgh"
	for text, want := range map[string]string{
		"<" + token + "@bounce.example.com>: Sender address rejected": "… Sender address rejected",
		"sender " + strings.ToUpper(token) + ": unknown":              "sender … unknown",
		"Domain bounce.example.com not found":                         "Domain bounce.example.com not found",
	} {
		words := smtp.MaskSender(smtp.Words(text, "jane@mail.example"), token+"@bounce.example.com")
		if got := smtp.Quote(words); got != want {
			t.Errorf("%q is quoted as %q, want %q", text, got, want)
		}
	}
	if got := smtp.Quote(smtp.MaskSender(smtp.Words("news is blocked", ""),
		"news@example.com")); got != "news is blocked" {
		t.Errorf("the sender of all is masked: %q", got)
	}
}
