package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/mail"
	"time"
)

// idOf returns the ID of a report: a hash of its Message-ID, or, if it has none, of what does not
// change on the way: its sender, date, subject and content.
func idOf(m *message) string {
	h := sha256.New()
	if id := m.header.get("message-id"); len(id) > 4 {
		h.Write([]byte("id\x00" + id))
	} else {
		for _, name := range []string{"from", "date", "subject"} {
			h.Write([]byte(name + "\x00" + m.header.get(name) + "\x00"))
		}
		h.Write(bytes.TrimSpace(m.body))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// dateOf returns the time in the field Date, or zero.
func dateOf(m *message) time.Time {
	at, err := mail.ParseDate(m.header.get("date"))
	if err != nil {
		return time.Time{}
	}
	return at
}
