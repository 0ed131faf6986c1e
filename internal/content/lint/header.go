package lint

import (
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"

	"directmailer/internal/audience/address"
	"directmailer/internal/content"
	"directmailer/internal/content/render"
)

// maxSubject is the number of characters from which on a subject is long.
const maxSubject = 100

// singles are the header fields that a message has exactly once, or at most once.
var singles = []struct {
	name   string
	needed bool
}{
	{"From", true}, {"Date", true}, {"To", true}, {"Subject", true}, {"Message-Id", true}, {"Reply-To", false},
	{"List-Unsubscribe", false}, {"List-Unsubscribe-Post", false}, {"List-Id", false}, {"Mime-Version", true},
	{"Content-Type", true}, {"Content-Transfer-Encoding", false}, {"Sender", false}, {"Feedback-Id", false},
}

// header looks at the fields that each message has.
func (l *Linter) header(m parsed, to string, found once) {
	if m.unreadableHeaders {
		found.add(HeaderInvalid, "header", "cannot be read")
		return
	}
	for _, field := range singles {
		switch n := len(m.header[field.name]); {
		case n == 0 && field.needed:
			found.add(HeaderInvalid, "header "+field.name, "is missing")
		case n > 1:
			found.add(HeaderInvalid, "header "+field.name, "is there more than once")
		}
	}
	if from, err := mail.ParseAddressList(m.header.Get("From")); err != nil || len(from) != 1 {
		found.add(HeaderInvalid, "header From", "is not one address")
	}
	if _, err := m.header.Date(); err != nil {
		found.add(HeaderInvalid, "header Date", "is not a date")
	}
	all, err := mail.ParseAddressList(m.header.Get("To"))
	if err != nil || len(all) != 1 || !same(all[0], to) {
		found.add(ToNotPersonal, "header To", "is not the one address of the recipient")
	}
}

// same reports whether what package mail has read is the address. It has read a local part without
// its quotation marks.
func same(read *mail.Address, to string) bool {
	written := (&mail.Address{Address: read.Address}).String() // in angle brackets
	first, err := address.Parse(written[1 : len(written)-1])
	second, err2 := address.Parse(to)
	return err == nil && err2 == nil && first.Key() == second.Key()
}

// subject looks at the subject as people read it.
func (l *Linter) subject(m parsed, found once) {
	at := spot{where: "header Subject", field: render.FieldSubject}
	text := decoded(m.header.Get("Subject"))
	if n := utf8.RuneCountInString(text); n > maxSubject {
		found.addAt(SubjectLong, at, "has more than 100 characters")
	}
	letters, lower := 0, false
	for _, r := range text {
		if unicode.IsLetter(r) && unicode.ToLower(r) != unicode.ToUpper(r) {
			letters++
			lower = lower || unicode.IsLower(r)
		}
	}
	if letters >= 10 && !lower {
		found.addAt(SubjectCapitals, at, "is all capitals")
	}
	start, _, ok := strings.Cut(strings.ToLower(text), ":")
	replies := []string{"re", "fw", "fwd", "aw", "wg", "sv", "tr", "rv", "antw", "r", "i"}
	if ok && slices.Contains(replies, strings.TrimSpace(start)) {
		found.addAt(SubjectFakeReply, at, "begins like a reply or a forwarded message")
	}
}

// aboutMailing looks at what all messages have in common.
func (l *Linter) aboutMailing(setup Setup) (all []Finding) {
	add := func(code Code, field, message string) {
		f := New(code, "", message)
		f.Field = field
		all = append(all, f)
	}
	for _, tag := range render.MergeTags(content.Spec(l.in, l.in.Audience(), time.Time{}, nil)) {
		message := strings.TrimSuffix(tag.Message, ": a field is written {{.first_name}}") // the rule says that
		f := New(MergeTag, "", message)
		f.Field, f.Line, f.Column = tag.Field, tag.Line, tag.Column
		all = append(all, f)
	}
	from, err := address.ParseMailbox(l.in.From)
	if err != nil {
		return all // the input says so
	}
	domain := from.Address.Domain()
	if isFreemail(domain) {
		add(FromFreemail, "from", "the domain "+domain+" belongs to a mail provider for the public")
	}
	if sender, err := l.in.Sender(); err == nil && !Aligned(sender.Domain(), domain) {
		add(EnvelopeNotAligned, "envelope_sender", "the domain "+sender.Domain()+" is not From's domain "+domain)
	}
	replies, field := from.Address, "from"
	if reply, err := address.ParseMailbox(l.in.ReplyTo); err == nil {
		replies, field = reply.Address, "reply_to"
		switch other := reply.Address.Domain(); {
		case isFreemail(other) && !isFreemail(domain):
			add(ReplyToFreemail, field, "the domain "+other+" belongs to a mail provider for the public")
		case !Aligned(other, domain):
			add(ReplyToOtherDomain, field, "the domain "+other+" is not From's domain "+domain)
		}
	}
	local := strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(replies.Local()))
	if strings.HasPrefix(local, "noreply") || strings.HasPrefix(local, "donotreply") {
		add(FromNoReply, field, "the address says that nobody reads replies")
	}
	return append(all, l.noUnsubscribe(setup)...)
}

// Aligned reports whether two domains are the same organization's: relaxed alignment as DMARC has
// it (RFC 7489, 3.1).
func Aligned(a, b string) bool { return Organization(a) == Organization(b) }

// Organization returns the domain that its owner has registered, such as example.com for
// news.example.com.
func Organization(domain string) string {
	if registered, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return registered
	}
	return domain
}

// isFreemail reports whether anybody can get an address at the domain.
func isFreemail(domain string) bool {
	if slices.Contains(freemail, domain) {
		return true
	}
	name, _, _ := strings.Cut(domain, ".") // yahoo.fr, yahoo.co.uk
	return Organization(domain) == domain && slices.Contains([]string{"yahoo", "hotmail", "outlook", "live"}, name)
}

var freemail = []string{
	"gmail.com", "googlemail.com", "yahoo.com", "ymail.com", "rocketmail.com", "aol.com", "aim.com", "verizon.net",
	"msn.com", "passport.com", "icloud.com", "me.com", "mac.com", "gmx.com", "gmx.net", "gmx.de", "gmx.at", "gmx.ch",
	"web.de", "t-online.de", "freenet.de", "mail.com", "email.com", "mail.ru", "bk.ru", "inbox.ru", "list.ru",
	"yandex.ru", "yandex.com", "ya.ru", "rambler.ru", "proton.me", "protonmail.com", "pm.me", "tutanota.com", "tuta.com",
	"zoho.com", "zohomail.com", "fastmail.com", "hey.com", "qq.com", "163.com", "126.com", "sina.com", "naver.com",
	"daum.net", "hanmail.net", "orange.fr", "wanadoo.fr", "free.fr", "laposte.net", "sfr.fr", "libero.it", "virgilio.it",
	"tiscali.it", "alice.it", "comcast.net", "att.net", "sbcglobal.net", "bellsouth.net", "cox.net", "btinternet.com",
	"sky.com", "virginmedia.com", "uol.com.br", "bol.com.br", "terra.com.br", "ig.com.br", "seznam.cz", "centrum.cz",
	"wp.pl", "o2.pl", "onet.pl", "interia.pl", "abv.bg", "ukr.net", "rediffmail.com", "bluewin.ch", "telenet.be",
	"ziggo.nl", "kpnmail.nl",
}
