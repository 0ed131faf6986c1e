package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/token/tokentest"
)

var anna, ben = token.Recipient{Mailing: 7, Number: 12}, token.Recipient{Mailing: 7, Number: 13}

const failure = "From: MAILER-DAEMON@relay.example.net\nSubject: failure notice\nMessage-ID: <1@a.example>\n%s\n" +
	"Hi. I wasn't able to deliver your message.\n\n<anna@example.org>:\n550 5.1.1 User unknown\n\n" +
	"--- Below this line is a copy of the message.\n\nReceived: by a.example\nReceived: by b.example\n" +
	"Message-ID: <7.12@example.com>\n%s\n\nHello\n"

func TestATokenIsFoundWhereverServersLeaveIt(t *testing.T) {
	keys := tokentest.Keys(t, "new", "old")
	bounce := "bounces+" + keys.ForAddress(token.Bounce, anna) + "@example.com"
	request := "u+" + keys.ForAddress(token.Unsubscribe, anna) + "@example.com"
	link := "https://m.example.com/u/" + keys.ForURL(token.Unsubscribe, anna)
	for name, message := range map[string]string{
		"To":                         fmt.Sprintf(failure, "To: <"+bounce+">\n", ""),
		"To, capitals":               fmt.Sprintf(failure, "To: "+strings.ToUpper(bounce)+"\n", ""),
		"To, the token alone":        fmt.Sprintf(failure, "To: "+bounce[len("bounces+"):]+"\n", ""),
		"To, before a suffix":        fmt.Sprintf(failure, "To: <"+strings.Replace(bounce, "@", "-x@", 1)+">\n", ""),
		"Delivered-To":               fmt.Sprintf(failure, "Delivered-To: "+bounce+"\n", ""),
		"X-Original-To":              fmt.Sprintf(failure, "X-Original-To: "+bounce+"\n", ""),
		"Envelope-To":                fmt.Sprintf(failure, "Envelope-To: "+bounce+"\n", ""),
		"Return-Path inside":         fmt.Sprintf(failure, "", "Return-Path: <"+bounce+">"),
		"Return-Path inside, folded": fmt.Sprintf(failure, "", "Return-Path:\n <"+bounce+">"),
		"List-Unsubscribe inside":    fmt.Sprintf(failure, "", "List-Unsubscribe: <"+link+">, <mailto:"+request+">"),
		"mailto alone":               fmt.Sprintf(failure, "", "List-Unsubscribe: <mailto:"+request+"?subject=unsubscribe>"),
		"a link in the text":         fmt.Sprintf(failure, "", "") + "Leave: " + link + " any time\n",
		"a link that is counted":     fmt.Sprintf(failure, "", "") + "Leave: " + link + "?utm_source=news\n",
		"a link at the end":          fmt.Sprintf(failure, "", "") + "Leave at " + link + ".\n",
		"in quoted-printable": "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nLeave: " +
			strings.ReplaceAll(link, "/u/", "/u/=\n") + "\n",
		"in a message inside": "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n" +
			"Return-Path: <" + bounce + ">\n\nHello\n--b--\n",
		"in fields inside": "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: text/rfc822-headers\n\n" +
			"List-Unsubscribe: <" + link + ">\n--b--\n",
	} {
		for line, m := range map[string]string{"LF": message, "CRLF": strings.ReplaceAll(message, "\n", "\r\n")} {
			r := Reader{keys}.Read([]byte(m))
			if !slices.Equal(r.Tokens, []token.Recipient{anna}) {
				t.Errorf("%s, %s: found %v", name, line, r.Tokens)
			}
		}
	}
}

func TestTheRestOfALongMessageIsNotRead(t *testing.T) {
	keys := tokentest.Keys(t, "a")
	for length, want := range map[int]int{MaxRead - 1000: 1, MaxRead: 0} {
		text := "Content-Type: multipart/report; boundary=b\n\n--b\n\n" +
			strings.Repeat(strings.Repeat("x", 49)+"\n", length/50) + "--b\nContent-Type: message/rfc822\n\n" +
			"Return-Path: <bounces+" + keys.ForAddress(token.Bounce, anna) + "@example.com>\n\n--b--\n"
		if r := (Reader{keys}).Read([]byte(text)); len(r.Tokens) != want {
			t.Errorf("after %d octets, %d tokens are found", length, len(r.Tokens))
		}
	}
}

func TestTheTokensOfTheHeaderComeFirst(t *testing.T) {
	keys := tokentest.Keys(t, "a")
	address := func(r token.Recipient) string { return "bounces+" + keys.ForAddress(token.Bounce, r) + "@example.com" }
	r := Reader{keys}.Read(fmt.Appendf(nil, failure, "To: "+address(ben)+"\n", "Return-Path: <"+address(anna)+">"))
	if !slices.Equal(r.Tokens, []token.Recipient{ben, anna}) {
		t.Errorf("found %v", r.Tokens)
	}
	r = Reader{keys}.Read(fmt.Appendf(nil, failure, "To: "+address(ben)+"\n",
		"Return-Path: <"+address(anna)+">\nErrors-To: <"+address(anna)+">"))
	if !slices.Equal(r.Tokens, []token.Recipient{ben, anna}) { // each once
		t.Errorf("found %v", r.Tokens)
	}
}

// An operator answers or forwards a message, quotes a newsletter in it, and misspells the address.
func TestABounceOfAReplyIsNotAboutTheMessageThatItQuotes(t *testing.T) {
	keys := tokentest.Keys(t, "a")
	link := "https://m.example.com/u/" + keys.ForURL(token.Unsubscribe, anna)
	newsletter := "From: news@example.com\nList-Unsubscribe: <" + link + ">\n\nLeave: " + link + "\n"
	reply := "From: office@example.com\nSubject: Re: news\n"
	attached := reply + "Content-Type: multipart/mixed; boundary=c\n\n--c\n\nSee below.\n--c\n" +
		"Content-Type: message/rfc822\n\n" + newsletter + "--c--\n"
	bounce := "From: MAILER-DAEMON@mx.example.com\nContent-Type: multipart/report; boundary=b\n\n" +
		"--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; colleague@example.net\n" +
		"Action: failed\nStatus: 5.1.1\n\n--b\nContent-Type: message/rfc822\n\n%s\n--b--\n"
	complaint := strings.NewReplacer("delivery-status", "feedback-report", "Action: failed", "Feedback-Type: abuse").
		Replace(bounce)
	for name, c := range map[string]struct {
		form, returned string
		want           int
	}{
		"a newsletter":                {bounce, newsletter, 1},
		"a reply":                     {bounce, reply + "\n> Leave: " + link + "\n", 0},
		"a forwarded newsletter":      {bounce, attached, 0},
		"a forwarded bounce":          {"From: x@example.org\nContent-Type: message/rfc822\n\n" + bounce, newsletter, 1},
		"a complaint":                 {complaint, newsletter, 1},
		"a complaint, its fields cut": {complaint, "From: x\n\nLeave: " + link + "\n", 1},
	} {
		r := Reader{keys}.Read(fmt.Appendf(nil, c.form, c.returned))
		if len(r.Tokens) != c.want || c.want == 1 && r.Tokens[0] != anna {
			t.Errorf("%s: found %v, as %v", name, r.Tokens, r.Findings)
		}
	}
}

func TestAStrangersTokenIsNotOurs(t *testing.T) {
	ours, theirs := tokentest.Keys(t, "ours"), tokentest.Keys(t, "theirs")
	cut := ours.ForAddress(token.Bounce, anna)
	for name, local := range map[string]string{
		"another key":    "bounces+" + theirs.ForAddress(token.Bounce, anna),
		"cut":            "bounces+" + cut[:len(cut)-1],
		"one more":       "bounces+" + cut + "a",
		"of a test":      "bounces+" + ours.ForAddress(token.Test, anna),
		"no token":       "bounces",
		"something else": "bounces+" + strings.Repeat("a", 40),
	} {
		message := fmt.Appendf(nil, failure, "To: "+local+"@example.com\n", "")
		if r := (Reader{ours}).Read(message); len(r.Tokens) > 0 {
			t.Errorf("%s: found %v", name, r.Tokens)
		}
	}
	if r := (Reader{}).Read(fmt.Appendf(nil, failure, "To: bounces+"+cut+"@example.com\n", "")); len(r.Tokens) > 0 {
		t.Error("found a token without a key")
	}
}

func TestOneOfSeveralRecipientsIsToldApart(t *testing.T) {
	data, _ := samples(t)
	r := Reader{}.Read(data["dsn-three-recipients.eml"])
	for address, want := range map[string]Class{
		"anna@example.org": Hard, "ANNA@Example.org": Hard, "ben@example.org": Soft, "carla@example.org": Delivered,
		"": Hard, "somebody@example.com": Delivered,
	} {
		if got := r.About(address).Class; got != want {
			t.Errorf("about %q: %v, want %v", address, got, want)
		}
	}
	one := Reader{}.Read(data["dsn-unknown.eml"])
	if got := one.About("anna.who.forwards@example.com").Class; got != Hard {
		t.Errorf("a report of one recipient is %v for who forwards", got)
	}
}
