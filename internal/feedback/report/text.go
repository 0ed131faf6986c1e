package report

import "strings"

// block is what a text says of one recipient: from the line that begins with the address to the
// line that begins with the next one.
type block struct {
	address string
	text    string
}

// blocksIn divides a text by its recipients. rest is what stands before the first.
func blocksIn(text string) (rest string, all []block) {
	var before, between strings.Builder
	var current *block
	transcript := false // the block began with a reply
	for line := range strings.Lines(text) {
		address, start, _, ok := findAddress(line)
		if talks := strings.HasPrefix(line, "While talking"); talks || transcript && isReply(firstWord(line)) {
			if current = nil; talks { // what follows is the next recipient's
				between.Reset()
			}
		}
		if ok && isRecipient(address) && begins(line[:start]) && (current == nil || current.address != address) {
			current = nil
			for i := range all { // the same text in another language
				if all[i].address == address {
					current = &all[i]
				}
			}
			if current == nil && len(all) < maxRecipients {
				all = append(all, block{address: address})
				current = &all[len(all)-1]
				current.text = between.String()
				between.Reset()
			}
			transcript = isReply(firstWord(line))
		}
		switch {
		case current == nil && len(all) > 0:
			between.WriteString(line)
		case current == nil:
			before.WriteString(line)
		case len(current.text) < 4*maxDiagnostic:
			current.text += line
		}
	}
	return before.String(), all
}

// begins reports whether an address after this text begins what is said of a recipient.
func begins(prefix string) bool {
	colon := strings.HasSuffix(strings.TrimRight(prefix, " \t<\"'"), ":")
	prefix = strings.ToLower(strings.Trim(prefix, " \t<>\"'*-([:,"))
	if prefix == "" || prefix == "to" && !colon || isReply(prefix) {
		return true
	}
	if !colon {
		return false
	}
	last := prefix[strings.LastIndexAny(prefix, " \t-")+1:]
	for _, other := range []string{"from", "sender", "id", "cc", "subject", "received", "by", "contact", "postmaster",
		"path", "arrival", "for"} {
		if last == other {
			return false
		}
	}
	return len(prefix) < 60 && prefix != "to" && prefix != "reply-to"
}

// isReply reports whether a text is a reply code, as before the address in "550
// <a@example.org>...".
func isReply(s string) bool {
	return len(s) == 3 && (s[0] == '4' || s[0] == '5') && isDigit(s[1]) && isDigit(s[2])
}

// isRecipient reports whether an address may be that of a recipient: no address of a mail system.
func isRecipient(address string) bool {
	local, _, _ := strings.Cut(strings.ToLower(address), "@")
	return local != "postmaster" && local != "mailer-daemon" && local != "abuse" && local != "support"
}

// findAddress returns the first address in a text, and where it begins and ends.
func findAddress(s string) (address string, start, end int, ok bool) {
	for from := 0; ; {
		at := strings.IndexByte(s[from:], '@')
		if at < 0 {
			return "", 0, 0, false
		}
		at += from
		for start = at; start > from && isLocal(s[start-1]) && at-start <= 64; start-- {
		}
		dot := false
		for end = at + 1; end < len(s) && isDomain(s[end]) && end-at <= 254; end++ {
			dot = dot || s[end] == '.'
		}
		for end > at+1 && (s[end-1] == '.' || s[end-1] == '-') {
			end--
		}
		for start < at && (s[start] == '\'' || s[start] == '=' || s[start] == '.') {
			start++
		}
		if start < at && end > at+1 && at-start <= 64 {
			return s[start:end], start, end, true
		}
		from = at + 1
	}
}

// isLocal reports whether c may be in the local part of an address as reports write it.
func isLocal(c byte) bool {
	return isLetter(c) || isDigit(c) || c >= 0x80 || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0
}

func isDomain(c byte) bool {
	return isLetter(c) || isDigit(c) || c >= 0x80 || c == '-' || c == '.' || c == '_'
}
