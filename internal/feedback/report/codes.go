package report

import (
	"strconv"
	"strings"
)

// enhanced is an enhanced status code (RFC 3463): class, subject, detail.
type enhanced [3]int

func (e enhanced) String() string {
	if e == (enhanced{}) {
		return ""
	}
	return strconv.Itoa(e[0]) + "." + strconv.Itoa(e[1]) + "." + strconv.Itoa(e[2])
}

// vague reports whether the code says no more than that it failed.
func (e enhanced) vague() bool { return e[1] == 0 }

// codesIn returns the first reply code and the first enhanced status code in a text, or zero. An
// enhanced code that says something goes before one that does not.
func codesIn(text string) (reply int, code enhanced) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c < '2' || c > '5' || c == '3' ||
			i > 0 && (isDigit(text[i-1]) || text[i-1] == '.' || isLetter(text[i-1])) {
			continue
		}
		if reply == 0 && c != '2' && i+3 <= len(text) && isDigit(text[i+1]) && isDigit(text[i+2]) && text[i+1] <= '7' &&
			endsReply(text, i+3) {
			reply = int(c-'0')*100 + int(text[i+1]-'0')*10 + int(text[i+2]-'0')
		}
		if code.vague() {
			if e, ok := enhancedAt(text[i:]); ok && (code == enhanced{} || !e.vague()) {
				code = e
			}
		}
	}
	return reply, code
}

// endsReply reports whether a reply code ends at i: not in the middle of a number, a date or a
// name.
func endsReply(text string, i int) bool {
	if i == len(text) {
		return true
	}
	switch text[i] {
	case ' ', '-', ':', '\n', '\t', ',', ';', ')', '<', '\'', '"', ']':
		return true
	}
	return false
}

func enhancedAt(s string) (e enhanced, ok bool) {
	i := 0
	for n := range 3 {
		start := i
		for i < len(s) && isDigit(s[i]) && i-start < 3 {
			e[n] = e[n]*10 + int(s[i]-'0')
			i++
		}
		if i == start || n == 0 && i != 1 {
			return enhanced{}, false
		}
		if n < 2 {
			if i >= len(s) || s[i] != '.' {
				return enhanced{}, false
			}
			i++
		}
	}
	if i < len(s) && (isDigit(s[i]) || isLetter(s[i]) || s[i] == '.' && i+1 < len(s) && isDigit(s[i+1])) {
		return enhanced{}, false // an address or a version
	}
	return e, true
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// stage is the step of SMTP that a server refused.
type stage int

const (
	noStage stage = iota
	atConnect
	atMail
	atRcpt
	atData // DATA, and the end of the message
)

// stages are how mail systems name the step, in lower case.
var stages = map[stage][]string{
	atConnect: {"after initial connection", "refused to talk to me", "in reply to ehlo", "in reply to helo", "after ehlo",
		"after helo", "[connect]", "greeting failed", "performing the ehlo", "performing the helo"},
	atMail: {"in reply to mail from", "after mail from", "[mail_from]", "sender was rejected", "our mail from",
		">>> mail from", "(state 13)"},
	atRcpt: {"in reply to rcpt to", "after rcpt to", "after rcpt command", "[rcpt_to]", "smtp:rcpt", "rcpt command",
		"does not like recipient", "our rcpt to", " in rcpt to", ">>> rcpt to", "sent <<< rcpt to",
		"smtp server has rejected address", "(state 14)"},
	atData: {"in reply to end of data", "in reply to data command", "after end of data", "after data",
		"after i sent the message", "failed on data command", "our final data", "our data", ">>> data <<< 5", "[data]",
		"sent <<< data", "smtp command data", "after sending the message", "pipelined sending data block", "end of data",
		"(state 17)", "(state 18)"},
}

// stageIn returns the step that a text names first.
func stageIn(text string) stage {
	lower := strings.Join(strings.Fields(strings.ToLower(text)), " ")
	found, first := noStage, len(lower)
	for stage, names := range stages {
		for _, name := range names {
			if at := strings.Index(lower, name); at >= 0 && at < first {
				found, first = stage, at
			}
		}
	}
	return found
}
