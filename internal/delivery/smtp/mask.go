package smtp

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// maxQuote is the longest quotation of a server's text, in characters.
const maxQuote = 160

// masked stands for a word of a reply that may be an address.
const masked = "…"

// Words returns the words of a server's reply, for errors and logs. A word that may be part of an
// address is masked: one with an @ or its codes, and one with the local part or the domain of the
// recipient, who may be empty.
func Words(text, recipient string) []string {
	local, domain := "", ""
	if at := strings.LastIndexByte(recipient, '@'); at > 0 {
		local, domain = strings.ToLower(recipient[:at]), strings.ToLower(recipient[at+1:])
	}
	words := strings.Fields(text)
	for i, w := range words {
		if mayBeAddress(strings.ToLower(w), local, domain) {
			words[i] = masked
		}
	}
	return words
}

func mayBeAddress(word, local, domain string) bool {
	switch {
	case strings.ContainsAny(word, "@＠"), strings.Contains(word, "%40"), strings.Contains(word, "=40"):
		return true
	case local == "":
		return false
	case strings.Contains(word, domain), len(local) > 2 && strings.Contains(word, local):
		return true
	}
	return strings.Trim(word, `<>"'().,:;[]`) == local
}

// minOwnLocal is the length, in octets, from which the local part of an envelope sender is taken
// for one that names a recipient.
const minOwnLocal = 20

// MaskSender masks those of the words that have the local part of the envelope sender, if it may be
// a bounce address that names the recipient.
func MaskSender(words []string, sender string) []string {
	local := strings.ToLower(sender[:max(strings.LastIndexByte(sender, '@'), 0)])
	for at, w := range words {
		if len(local) >= minOwnLocal && strings.Contains(strings.ToLower(w), local) {
			words[at] = masked
		}
	}
	return words
}

// Quote returns words as a quotation of limited length.
func Quote(words []string) string {
	text := strings.Join(words, " ")
	if utf8.RuneCountInString(text) > maxQuote {
		text = string([]rune(text)[:maxQuote]) + masked
	}
	return text
}

// Pattern returns what the words of two replies have in common that say the same to two recipients:
// without words that have a digit or a dot inside, such as times, queue IDs and host names.
func Pattern(words []string) string {
	kept := make([]string, len(words))
	for i, w := range words {
		w = strings.ToLower(strings.Trim(w, ".,:;"))
		if strings.ContainsAny(w, "0123456789.") {
			w = masked
		}
		kept[i] = w
	}
	return strings.Join(kept, " ")
}

// Quoted returns the text of a server that refuses us, or "". A refusal of a log-in is not quoted:
// it may repeat the user's name.
func Quoted(err error, recipient string) string {
	var r *Refusal
	if !errors.As(err, &r) || r.Code == 0 || r.Phase == PhaseAuth {
		return ""
	}
	return Quote(Words(r.Text, recipient))
}
