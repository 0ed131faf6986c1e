package lint

import (
	"regexp"
	"slices"
	"strings"

	"directmailer/internal/content"
	"directmailer/internal/content/render"
)

// Bulk is the number of recipients above which a mailing is bulk mail: what Gmail, Yahoo and
// Microsoft take for a day's mail of a bulk sender.
const Bulk = 5000

// unsubscribe looks at the headers of RFC 2369 and RFC 8058.
func (l *Linter) unsubscribe(m parsed, found once) {
	header := m.header.Get("List-Unsubscribe")
	if header == "" {
		if !l.unsubscribeIsNone() {
			found.add(UnsubscribeMissing, "header List-Unsubscribe", "is missing")
		}
		return
	}
	post := strings.TrimSpace(m.header.Get("List-Unsubscribe-Post"))
	switch {
	case oneClickAddress(header) == "":
		found.add(UnsubscribeNotOneClick, "header List-Unsubscribe", "has no https address")
	case !strings.EqualFold(post, "List-Unsubscribe=One-Click"):
		found.add(UnsubscribeNotOneClick, "header List-Unsubscribe-Post", "is missing or wrong")
	}
	signed := m.header["Dkim-Signature"]
	if len(signed) == 0 {
		return // there is a finding about that
	}
	for _, signature := range signed {
		fields := ":" + strings.ToLower(strings.Join(strings.Fields(tag(signature, "h")), "")) + ":"
		if strings.Contains(fields, ":list-unsubscribe:") && strings.Contains(fields, ":list-unsubscribe-post:") {
			return
		}
	}
	found.add(UnsubscribeUnsigned, "header DKIM-Signature", "does not cover List-Unsubscribe and List-Unsubscribe-Post")
}

var angled = regexp.MustCompile(`<([^<>]*)>`)

// oneClickAddress returns the https address of a List-Unsubscribe header, or "". An http link to
// this machine is never here: see [Setup.LocalLinks].
func oneClickAddress(header string) string {
	for _, found := range angled.FindAllStringSubmatch(header, -1) {
		if address := strings.Join(strings.Fields(found[1]), ""); strings.HasPrefix(strings.ToLower(address), "https://") {
			return address
		}
	}
	return ""
}

// noUnsubscribe is about a mailing that nobody can leave.
func (l *Linter) noUnsubscribe(setup Setup) []Finding {
	code, message := UnsubscribeNone, "the mailing has no unsubscribe headers"
	switch {
	case !l.unsubscribeIsNone() && setup.LocalLinks:
		code, message = UnsubscribeLocal, "the links work only on this machine, to which DM_PUBLIC_URL leads"
	case !l.unsubscribeIsNone() && !setup.NoLinks:
		return nil
	case !l.unsubscribeIsNone():
		code, message = UnsubscribeMissing, "DM_TOKEN_KEYS and DM_PUBLIC_URL are not set in this shell"
	case setup.Recipients > Bulk:
		code, message = UnsubscribeNoneBulk, "a mailing to more than 5,000 recipients has no unsubscribe headers"
	}
	f := New(code, "", message)
	f.Field = "unsubscribe"
	return []Finding{f}
}

// unsubscribeIsNone reports whether the mailing says that it has no unsubscribe headers.
func (l *Linter) unsubscribeIsNone() bool { return !content.CanUnsubscribe(l.in) }

// unsubscribeWords are in the visible text or the address of links to unsubscribe, in lower case.
var unsubscribeWords = []string{
	"unsub", "optout", "opt-out", "opt out", "preferences", "abmeld", "abbestell", "austragen", "désabonn", "desabonn",
	"désinscri", "desinscri", "darse de baja", "baja", "disiscri", "cancella", "cancelar", "afmeld", "uitschrijv",
	"avregistrer", "avsluta", "avmeld", "meld deg av", "peruuta", "wypisz", "odhlás", "odhlas", "leiratkoz", "отпис",
	"відпис", "登録解除", "配信停止", "退订", "取消订阅", "수신거부", "إلغاء",
}

func saysUnsubscribe(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(unsubscribeWords, func(word string) bool { return strings.Contains(text, word) })
}

// unsubscribeLink looks for a link that people can see.
func (l *Linter) unsubscribeLink(m parsed, page document, found once) {
	if l.unsubscribeIsNone() {
		return
	}
	header := oneClickAddress(m.header.Get("List-Unsubscribe"))
	has := func(text string) bool { return header != "" && strings.Contains(text, header) }
	if !m.hasHTML {
		if !has(m.text) && !saysUnsubscribe(m.text) {
			found.addAt(UnsubscribeLinkMissing, spot{where: "text part", field: render.FieldText}, "has no link to unsubscribe")
		}
		return
	}
	for _, link := range page.links {
		if has(link.address) || saysUnsubscribe(link.address) || saysUnsubscribe(link.text) {
			return
		}
	}
	found.addAt(UnsubscribeLinkMissing, spot{where: "HTML part", field: render.FieldHTML}, "has no link to unsubscribe")
}
