package message

import (
	"errors"
	"strings"
	"testing"
)

func TestTheUnsubscribeFieldsAreThoseOfTheirRFCs(t *testing.T) {
	t.Parallel()
	const link, address = "https://mail.example.com/u/x", "u-x@b.example.com"
	for _, c := range []struct{ url, address, want string }{
		{link, address, "\r\nList-Unsubscribe: <" + link + ">,\r\n <mailto:" + address + "?subject=unsubscribe>" +
			"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click"},
		{link, "", "\r\nList-Unsubscribe: <" + link + ">\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click"},
		{"", address, "\r\nList-Unsubscribe: <mailto:" + address + "?subject=unsubscribe>"},
		{"", "", ""},
	} {
		m := Message{UnsubscribeURL: c.url, UnsubscribeAddress: c.address}
		if got, err := m.appendUnsubscribe(nil); err != nil || string(got) != c.want {
			t.Errorf("got %q, %v, want %q", got, err, c.want)
		}
	}
	for _, wrong := range []string{"https://x/\r\nBcc: a@b", "https://x/ y", "https://x/>", "<https://x", "https://x/,y",
		"https://ü", strings.Repeat("a", 901), "a\x00"} {
		for _, m := range []Message{{UnsubscribeURL: wrong}, {UnsubscribeURL: link, UnsubscribeAddress: wrong}} {
			var field *FieldError
			if _, err := m.appendUnsubscribe(nil); !errors.As(err, &field) || field.Field != "unsubscribe" {
				t.Errorf("%.20q: %v", wrong, err)
			}
		}
	}
}
