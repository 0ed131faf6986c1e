package smtp

import (
	"testing"
	"time"
)

func TestAServerThatSaysWhenToTryAgainIsUnderstood(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"Greylisted, please try again in 300 seconds":                         5 * time.Minute,
		"Recipient address rejected: Greylisted for 5 minutes":                5 * time.Minute,
		"Greylisting in action, please come back in 00:04:59":                 4*time.Minute + 59*time.Second,
		"too many messages, retry after 90":                                   90 * time.Second,
		"Try again in 2 hours":                                                2 * time.Hour,
		"Resources temporarily unavailable. Please try again later (30 mins)": 30 * time.Minute,
		"please wait 45s and resend":                                          45 * time.Second,
		"try again in 250ms":                                                  250 * time.Millisecond,
		"mailbox is full":                                                     0,
		"Try again later, error 4":                                            0,
		"Try again later, error 451":                                          0,
		"Server busy. Please try again later from [40.107.22.51]":             0,
		"try again later: 192.0.2.7":                                          0,
		"not now, come again later. See http://example.com/help/451":          0,
		"try again in 10.0.0.1 minutes":                                       0,
		"Temporary failure 12345 at line 300":                                 0,
		"":                                                                    0,
	} {
		if got, ok := RetryAfter(text); got != want || ok != (want > 0) {
			t.Errorf("%q: got %v, %v; want %v", text, got, ok, want)
		}
	}
}
