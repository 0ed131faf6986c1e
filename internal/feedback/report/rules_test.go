package report

import (
	"fmt"
	"strings"
	"testing"
)

// statusReport returns a report (RFC 3464) of one recipient.
func statusReport(code, diagnostic string) string {
	return "From: MAILER-DAEMON@relay.example.net\nContent-Type: multipart/report; boundary=b\n\n" +
		"--b\n\nYour message was not delivered.\n--b\nContent-Type: message/delivery-status\n\n" +
		"Final-Recipient: rfc822; anna@example.org\nAction: failed\nStatus: " + code +
		"\nDiagnostic-Code: smtp; " + diagnostic + "\n\n--b--\n"
}

// qmail returns a report in the form of qmail, which returns the message in the text.
func qmail(said, returned string) string {
	return "From: MAILER-DAEMON@relay.example.net\nSubject: failure notice\n\n" +
		"Hi. I wasn't able to deliver your message.\n\n" + said + "\n\n--- Below this line is a copy of the message.\n\n" +
		"Return-Path: <news@example.com>\nReceived: by a.example\nSubject: news\n\n" + returned + "\n"
}

// Each row is hard, or not, for one reason alone.
func TestEachRuleOfAReportDecides(t *testing.T) {
	for _, c := range []struct{ name, report, want string }{
		{"unknown", statusReport("5.1.1", "550 5.1.1 user unknown"), "hard 5.1.1"},
		{"a reply that passes", statusReport("5.1.1", "450 user unknown"), "soft 5.1.1"},
		{"the sender was refused", statusReport("5.1.1", "550 5.1.1 user unknown (in reply to MAIL FROM command)"),
			"soft 5.1.1"},
		{"the sender's address", statusReport("5.1.7", "550 5.1.7 user unknown"), "soft 5.1.7"},
		{"the sender's domain", statusReport("5.1.8", "550 5.1.8 user unknown"), "soft 5.1.8"},
		{"later", statusReport("5.1.1", "550 5.1.1 please try again later"), "soft 5.1.1"},
		{"a host that takes no mail", statusReport("5.0.0", "521 goodbye"), "hard 5.0.0"},
		{"a domain that takes no mail", statusReport("5.0.0", "556 goodbye"), "hard 5.0.0"},
		{"in text", qmail("<anna@example.org>:\nNot accepted.", "hello"), "soft"},
		{"in the returned message", qmail("<anna@example.org>:\nNot accepted.", "550 5.1.1 user unknown"), "soft"},
		{"one reason for two", qmail("<anna@example.org>:\n<ben@example.org>:\n550 5.1.1 user unknown", "hello"),
			"hard 5.1.1, hard 5.1.1"},
		{"whom to ask", qmail("<postmaster@example.org>:\nAsk me.\n\n<anna@example.org>:\n550 5.1.1 user unknown", "hello"),
			"hard 5.1.1"},
		{"a system that answers a request", strings.Replace(qmail("<anna@example.org>:\n550 5.1.1 user unknown", "hello"),
			"failure notice", "unsubscribe", 1), "hard 5.1.1"},
		{"Amazon delivered", "From: no-reply@sns.amazonaws.com\n\n" +
			`{"notificationType":"Delivery","delivery":{"recipients":["anna@example.org"],"smtpResponse":"250 ok"}}`,
			"delivered"},
		{"Microsoft's complaint without the message", "Subject: complaint about message from 192.0.2.1\n" +
			"X-HmXmrOriginalRecipient: anna@example.org\n\nhello\n", "complaint"},
	} {
		if got := findingsOf(Reader{}.Read([]byte(c.report))); got != c.want {
			t.Errorf("%s: read as %s, want %s", c.name, got, c.want)
		}
	}
}

// A server that passes mail on names the recipient of ours as the original one.
func TestTheOriginalRecipientIsTheOneOfOurs(t *testing.T) {
	text := "From: MAILER-DAEMON@relay.example.net\nContent-Type: multipart/report; boundary=b\n\n" +
		"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n"
	for i, code := range []string{"5.1.1", "4.2.2"} {
		text += fmt.Sprintf("\nOriginal-Recipient: rfc822; ours%d@example.org\nFinal-Recipient: rfc822; x%d@example.net\n"+
			"Action: failed\nStatus: %s\nDiagnostic-Code: smtp; no mailbox ours%d or x%d\n", i, i, code, i, i)
	}
	// An alias of two: one of them does not exist, and the other has got the message.
	text += "\nOriginal-Recipient: rfc822; alias@example.org\nFinal-Recipient: rfc822; y0@example.net\n" +
		"Action: failed\nStatus: 5.1.1\n" +
		"\nOriginal-Recipient: rfc822; alias@example.org\nFinal-Recipient: rfc822; y1@example.net\n" +
		"Action: relayed\nStatus: 2.0.0\n"
	r := Reader{}.Read([]byte(text + "\n--b--\n"))
	for address, want := range map[string]Class{
		"ours0@example.org": Hard, "ours1@example.org": Soft, "x0@example.net": Hard, "y0@example.net": Hard,
		"alias@example.org": Delivered,
	} {
		f := r.About(address)
		if f.Class != want || strings.Contains(f.Diagnostic, "ours") || strings.Contains(f.Diagnostic, "x0") {
			t.Errorf("about %s: %v %q, want %v", address, f.Class, f.Diagnostic, want)
		}
	}
}
