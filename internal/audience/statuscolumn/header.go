// Package statuscolumn recognizes the columns of a table of people that say who may be mailed: the
// status of a subscription, a consent, an opt-out, a bounce. It decides by the name of the column
// and by its values. "Status" with the values gold and silver is no such column. A column with any
// name and the value "unsubscribed" is one.
//
// It knows the exports of listmonk, Mailchimp, Brevo, Mautic, Keila, HubSpot and their like, and
// the words of some languages.
package statuscolumn

import (
	"slices"
	"strings"
	"unicode"

	"directmailer/internal/audience/member"
)

// Kind is what the name of a column says about its values.
type Kind int

// The kinds of columns.
const (
	// Other is any name. Only clear words, such as "unsubscribed", make it a status column.
	Other Kind = iota
	// Status is a name such as "status": words count, and yes and no.
	Status
	// Positive is a name such as "subscribed": yes means that the person may be mailed.
	Positive
	// Negative is a name such as "unsubscribed" or "bounced_at": each value but no and 0 means that
	// the person must not be mailed.
	Negative
	// Foreign is a name about something else than e-mail, such as "SMS status".
	Foreign
)

// KindOf returns the kind of a column by its name.
func KindOf(header string) Kind {
	words := strings.Split(member.FieldName(splitCapitals(header)), "_")
	has := func(set map[string]bool) bool {
		return slices.ContainsFunc(words, func(w string) bool { return set[w] })
	}
	joined := "_" + strings.Join(words, "_") + "_"
	switch {
	case has(channels) && !has(mail), has(places) && !has(mail) && !has(marketing), has(technical):
		return Foreign
	case negated(joined) && !has(numbers):
		return Negative
	case begins(joined, negative), beside(words, negativeAlone):
		if has(numbers) || has(amounts) && strings.Contains(joined, "_bounce") {
			return Foreign
		}
		return Negative
	case has(moments), has(numbers):
		return Other
	case begins(joined, positive):
		return Positive
	case beside(words, statusWords):
		return Status
	}
	return Other
}

// splitCapitals separates the words of doNotContact.
func splitCapitals(s string) string {
	var b strings.Builder
	lower := false
	for _, r := range s {
		if lower && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(r)
	}
	return b.String()
}

// begins reports whether words of the name begin as one of the stems does.
func begins(joined string, stems []string) bool {
	return slices.ContainsFunc(stems, func(stem string) bool { return strings.Contains(joined, "_"+stem) })
}

// negated reports whether the name is that of a consent that somebody has not given, or has taken
// back: "no consent", "consent withdrawn", "Newslettersperre". Both together are a consent.
func negated(joined string) bool {
	at := -1 // of the consent
	for _, stem := range positive {
		if i := strings.Index(joined, "_"+stem); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 0 {
		return false
	}
	lacks := slices.ContainsFunc(strings.Split(joined[:at], "_"), func(w string) bool { return without[w] }) &&
		!begins(joined, noLack)
	return lacks != slices.ContainsFunc(takenBack, func(part string) bool { return strings.Contains(joined, part) })
}

// beside reports whether one of the words is in the set, and the others say no more than whose it
// is: "contact status", but not "order status".
func beside(words []string, set map[string]bool) bool {
	found := false
	for _, w := range words {
		switch {
		case set[w]:
			found = true
		case !common[w]:
			return false
		}
	}
	return found
}

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

var (
	channels = setOf(`sms mms whatsapp whats viber telegram phone telephone tel telefon mobile call calls push fax postal`)
	// places are channels, or say where somebody has agreed to marketing.
	places    = setOf(`post print web site twitter facebook`)
	mail      = setOf(`email mail e emails newsletter`)
	marketing = setOf(`marketing`)
	// technical are words of columns that hold no status, but help to change one.
	technical = setOf(`url uri link href token hash key code uuid guid id ip page html`)
	numbers   = setOf(`count number num rate score total percent anzahl nombre numero número`)
	amounts   = setOf(`emails mails`)
	moments   = setOf(`time date datetime datum at on since day year ip source fecha data quelle when timestamp
		created updated plan type level name title tier price amount`)

	statusWords = setOf(`status state statut estado stato stan stav tila durum állapot stare zustand
		статус состояние стан ステータス 状態 状态 狀態 상태 κατάσταση สถานะ स्थिति`)
	common = setOf(`email e mail emails contact contacts subscriber subscribers subscription list newsletter
		marketing global member membership user account recipient record person is has been was the of my current
		status delivery deliverability verification validation campaign campaigns from all in to for at on time date
		kontakt abonnent abonnenten empfänger mitglied adresse kunde contacto abonné contatto suscriptor subskrybent`)

	negative = strings.Fields(`unsub optout opt_out opted_out optedout blacklist blocklist bounced bounce
		hard_bounce soft_bounce complain spam suppress clean_time clean_campaign deactivated unreachable
		undeliverable do_not_contact do_not_email do_not_mail do_not_send do_not_bulk donot dnc no_email_ no_mail_
		email_disabled mail_disabled excluded_from ineligible globally_ineligible bad_address email_bad invalid_email
		email_invalid quarantine marked_as_spam not_subscribed nonsubscribed non_subscribed
		abgemeldet abmeld ausgetragen austrag austritt abbestell gesperrt sperr werbesperr widerruf kündig gekündigt
		keine_werbung kein_newsletter keine_mail keine_e_mail no_newsletter robinson cancelamento cancellazione
		no_marketing no_mailing widerspr werbewiderspr werbeverbot mailsperr mailingsperr
		desinscri désinscri desabon désabon baja_ desuscri descadastr disiscri disabbon
		uitgeschreven uitschrij afgemeld wypis odhlá odhlas avregist avanmäl avprenum afmeld avmeld leirat dezabon
		отпис відпис 配信停止 購読解除 退会 退订 退訂 取消订阅 수신거부`)
	// negativeAlone are negative where no other thing is named: a contact is deleted, or an order.
	negativeAlone = setOf(`cleaned deleted disabled blocked inactive cancelled canceled archived banned invalid excluded
		removed gelöscht deaktiviert inaktiv supprimé bloqué eliminado bloqueado inactivo cancellato bloccato
		bloqueada geblokkeerd заблокирован`)

	positive = strings.Fields(`subscri optin opt_in opted_in optedin double_opt consent permission accepts_email
		accepts_marketing accept_marketing email_marketing marketing_contact marketing_status marketing_email
		newsletter confirmed confirmation active_ is_active enabled mailable deliverable allow_email allow_mail
		can_email may_mail receive_email receives_email wants_email gdpr dsgvo
		abonn angemeldet einwilligung zustimmung erlaubnis aktiv_ inscrit consentement actif_ suscri consentimiento
		activo_ iscritt consenso attivo_ consentimento ativo_ ingeschreven aangemeld toestemming zapisan zgoda
		přihláš souhlas samtyck samtykke suostumus felirat hozzájárul abonat abone_ onay
		подпис соглас підпис згода 購読 同意 订阅 訂閱 구독 동의
		werbeeinwillig werbeerlaubnis werbezustimm
		nieuwsbrief nyhetsbrev nyhedsbrev boletin boletín infolettre hírlevél uutiskirje bülten
		рассылк розсилк メルマガ メールマガジン 뉴스레터`)

	// without are words that stand before a consent that somebody has not given.
	without = setOf(`no not non never without ohne kein keine keinen nicht pas sans sin senza geen niet zonder não
		nie bez ikke inte не без`)
	// noLack are names with such a word that lack nothing: a number, and whom a newsletter is for.
	noLack = strings.Fields(`no_of_ non_profit not_for_profit`)
	// takenBack are parts of names that say that a consent is no more. Only some languages put it
	// into one word with the consent.
	takenBack = strings.Fields(`_withdr _revok _refused _refusal _refuses _declin _reject _denied _deny _objection
		_objected _exclud _stop _blocked _remov _disabl _deactivat _cancel _delet _erase _erasure _forget
		abmeld abgemeld abbestell austrag ausgetrag austritt _sperre_ newslettersperr _sperrung _gesperrt _lösch gelöscht
		widerruf widerspr _kündig _gekündigt abokündig verweiger abgelehnt afmeld afgemeld opzeg _ingetrokken _geweiger
		_révoq _refusé _retiré _revoc _rechaz _retirad _rifiut _ritirat avregistr avanmäl avmeld
		_återkall _cofni _odmow _odvol _odmít`)
)
