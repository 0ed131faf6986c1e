package statuscolumn

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"directmailer/internal/audience/member"
)

// Word is what a value says by itself.
type Word int

// What values say.
const (
	Unknown Word = iota
	Blank
	Yes
	No
	Active
	// Weak is inactive where the column is about subscriptions: "disabled", "pending".
	Weak
	// Strong is inactive, but other columns may have it, too: "bounced", "cleaned".
	Strong
	// Clear is inactive in any column: "unsubscribed".
	Clear
	// Link is a web address or an e-mail address, which says nothing.
	Link
)

// longest is the length limit of the values in the vocabulary, in octets.
const longest = 48

// WordOf returns what a value says by itself. A clear word with others behind it is Strong:
// "unsubscribed via link". So are some others: "bounced (hard)".
func WordOf(value string) Word { return wordOf(value, true) }

// isWord reports whether a value as a whole is of the vocabulary.
func isWord(value string) bool {
	word := wordOf(value, false)
	return word != Unknown && word != Link
}

func wordOf(value string, longer bool) Word {
	if len(value) > 4*longest {
		return Unknown
	}
	value = strings.TrimSpace(value)
	if len(value) > longest {
		if strings.Contains(value, "://") {
			return Link
		}
		return Unknown
	}
	var buf [longest]byte
	name, ascii := plainName(&buf, value)
	if !ascii {
		name = []byte(strings.TrimPrefix(member.FieldName(value), "_"))
	}
	if word := ofVocabulary(name); word != Unknown {
		return word
	}
	word := wordless(value, string(name))
	for word == Unknown && longer && len(name) > 0 {
		name = name[:max(bytes.LastIndexByte(name, '_'), 0)]
		if ofVocabulary(name) == Clear || opening[string(name)] {
			word = Strong
		}
	}
	return word
}

// ofVocabulary looks a name up.
func ofVocabulary(name []byte) Word {
	if len(name) == 0 || name[0] < utf8.RuneSelf && lengths[name[0]]&(1<<len(name)) == 0 {
		return Unknown
	}
	return vocabulary[string(name)]
}

// wordless returns what a value says that is not in the vocabulary.
func wordless(value, name string) Word {
	switch {
	case name == "" && strings.ContainsAny(value, "✓✔☑✅"):
		return Yes
	case name == "":
		return Blank
	case strings.Trim(name, "0_") == "": // 0, 0000-00-00, 0.00
		return No
	case strings.Contains(value, "://"), strings.Contains(value, "@") && !strings.ContainsAny(value, " \t"):
		return Link
	}
	return Unknown
}

// plainName is [member.FieldName] for ASCII, without the _ in front of a digit.
func plainName(buf *[longest]byte, value string) (name []byte, ascii bool) {
	name = buf[:0]
	gap := false
	for i := range len(value) {
		c := value[i]
		switch {
		case c >= utf8.RuneSelf:
			return nil, false
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			gap = true
			continue
		}
		if gap && len(name) > 0 {
			name = append(name, '_')
		}
		name, gap = append(name, c), false
	}
	return name, true
}

// mayBeWord reports quickly whether WordOf can return something else than Unknown.
func mayBeWord(value string) bool {
	value = strings.TrimSpace(value)
	if len(value) > longest {
		return false
	}
	r, _ := utf8.DecodeRuneInString(value)
	if r < utf8.RuneSelf {
		return true
	}
	return !unicode.IsLetter(r) || firstLetters[unicode.ToLower(r)]
}

// MayBeMailed reports whether a value in a column of that kind says that the person may be mailed.
func (k Kind) MayBeMailed(value string) bool {
	word := WordOf(value)
	switch k {
	case Foreign:
		return true
	case Negative:
		return word == Blank || word == No || word == Active || word == Link
	case Positive:
		return word == Yes || word == Active || word == Unknown && hasNumber(value)
	}
	return word == Yes || word == Active
}

// hasNumber reports whether a value is a number or a moment: of a consent, in a positive column.
func hasNumber(value string) bool {
	value = strings.TrimSpace(value)
	if value == "" || value[0] > '9' {
		return false
	}
	digits := false
	for i := range len(value) {
		switch c := value[i]; {
		case '1' <= c && c <= '9':
			digits = true
		case strings.IndexByte("0-+.,:/ TZ", c) < 0:
			return false
		}
	}
	return digits
}

var (
	vocabulary   = map[string]Word{}
	firstLetters = map[rune]bool{}
	// lengths has a bit for the length of each word of ASCII that begins with an octet.
	lengths [256]uint64
	// opening are further words that are Strong with others behind them. The Spanish "baja" is none
	// of them, because Baja California is a place.
	opening = setOf(`bounced bounce hard_bounced hard_bounce cleaned complained suppressed withdrawn revoked
		inactive unconfirmed`)
)

func init() {
	for word, texts := range map[Word]string{
		Yes: yes, No: no, Active: active, Weak: weak, Strong: strong, Clear: unsubscribed,
	} {
		for text := range strings.FieldsSeq(texts) {
			vocabulary[text] = word
			r, _ := utf8.DecodeRuneInString(text)
			firstLetters[r] = true
			if len(text) <= longest {
				lengths[text[0]] |= 1 << len(text)
			}
		}
	}
}

const (
	yes = `1 yes y true t on x ja j wahr oui vrai si sí sì verdadero vero sim verdadeiro tak prawda ano igen da да
		evet kyllä はい 是 예 checked`
	no = `0 no n false f off nein falsch non faux falso não nao nie ne nem nu нет ні hayır ei nej nei nee いいえ 否 아니오
		null nil none never na n_a unchecked`
	// Somebody who is allowed may be mailed, also where the column is called "Do not allow emails".
	active = `subscribed subscriber active enabled confirmed opted_in opt_in optin optedin double_opt_in single_opt_in
		allow allowed given obtained agreed permitted
		verified valid mailable deliverable reachable accepted granted consented explicit implied marketing_contact ok
		actively_subscribed active_subscriber registered approved
		aktiv angemeldet bestätigt abonniert eingetragen abonnent zugestimmt erteilt
		abonné abonnée abonne abonnee inscrit inscrite actif confirmé confirmée accepté
		suscrito suscrita activo activa confirmado confirmada suscriptor
		iscritto iscritta attivo attiva confermato confermata
		inscrito inscrita ativo ativa assinante
		ingeschreven aangemeld actief bevestigd geabonneerd
		zapisany zapisana aktywny aktywna potwierdzony subskrybowany
		přihlášen přihlášený aktivní potvrzený prenumererar prenumerant tilmeldt påmeldt abonnerer
		tilaaja aktiivinen feliratkozott aktív abonat activ abone aktif onaylı
		подписан подписана подписчик активен активна активный подтвержден підписаний активний
		購読中 配信中 有効 登録済み 已订阅 订阅 有效 激活 已激活 已訂閱 구독 구독중 활성 수신동의`
	weak = `inactive disabled pending unconfirmed not_confirmed not_activated unverified cancelled canceled deleted
		removed archived suspended blocked invalid error expired stopped paused rejected failed closed lapsed not_active
		not_given not_granted not_obtained not_agreed not_accepted not_allowed not_permitted not_consented not_verified
		disagreed declined objected in_active pending_confirmation no_permission no_marketing no_email no_emails no_newsletter
		transactional soft_bounced soft_bounce softbounce unknown not_set not_specified temporary awaiting_confirmation
		inaktiv deaktiviert gelöscht unbestätigt ausstehend nicht_bestätigt ungültig gekündigt
		inactif en_attente non_confirmé supprimé bloqué invalide inactivo inactiva pendiente cancelado cancelada
		eliminado sin_confirmar inattivo inattiva in_attesa cancellato non_confermato inativo inativa pendente
		inactief in_afwachting nieaktywny oczekujący niepotwierdzony neaktivní väntande afventer odottaa inaktív inactiv
		pasif beklemede неактивен неактивный не_подтвержден ожидает удален удалён неактивний
		未確認 無効 停止 仮登録 未激活 未确认 停用 无效 비활성 대기`
	strong = `bounced bounce hard_bounced hard_bounce hardbounce cleaned complained complaint complainer spam junk
		suppressed unreachable undeliverable denied withdrawn revoked refused quarantined deactivated not_mailable
		gesperrt gebounced unzustellbar widerrufen verweigert
		rejeté bloqueado rebotado bloccato rimbalzato geblokkeerd baja zablokowany zablokowany заблокирован rebondi
		拒否 退会 退会済み エラー 拒绝 退信 거부`
	unsubscribed = `unsubscribed unsubscribe unsub unsubbed un_subscribed not_subscribed nonsubscribed non_subscribed
		never_subscribed no_longer_subscribed opted_out opt_out optout optedout not_opted_in blacklisted blacklist
		blocklisted blocklist spam_complaint marked_as_spam reported_as_spam do_not_contact do_not_email do_not_mail
		do_not_send do_not_allow dnc no_consent unmailable non_marketing_contact globally_unsubscribed
		unsubscribed_by_admin unsubscribed_by_user unsubscribed_from_all
		abgemeldet ausgetragen abbestellt nicht_angemeldet nicht_abonniert abgemeldete widersprochen
		désabonné désabonnée desabonne desabonnee désinscrit désinscrite desinscrit desinscrite non_abonné non_inscrit
		dado_de_baja dada_de_baja desuscrito desuscrita no_suscrito no_suscrita de_baja cancelar_suscripción
		disiscritto disiscritta disabbonato non_iscritto non_iscritta
		descadastrado descadastrada desinscrito desinscrita não_inscrito cancelou_a_inscrição
		uitgeschreven afgemeld niet_ingeschreven niet_aangemeld wypisany wypisana wypisani niezapisany rezygnacja
		odhlášen odhlášený odhlášena nepřihlášen avregistrerad avanmäld avprenumererad afmeldt avmeldt
		peruutettu ei_tilaaja leiratkozott dezabonat neabonat abonelikten_çıktı abonelikten_çıkan abone_değil
		отписан отписана отписался отписалась не_подписан відписаний відписався не_підписаний
		配信停止 配信停止中 購読解除 購読停止 解除済み 退订 已退订 取消订阅 已取消订阅 未订阅 退訂 已退訂 取消訂閱 수신거부 구독취소 미구독`
)
