package address

import (
	"errors"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"
)

// Mailbox is an address and the display name of its owner. The zero value is no mailbox.
type Mailbox struct {
	Name    string // may be empty, and in any script
	Address Address
}

// ParseMailbox reads "Name <a@b>", "a@b (Name)" or a bare address. Blanks around the whole are left
// out. The address must be one that [Parse] takes.
//
// The name stays as its author wrote it, with its parentheses and quotation marks. Only quotation
// marks around the whole name are left out, and encoded words (RFC 2047) are decoded. A name with a
// comma or another mark that separates addresses must be in quotes.
func ParseMailbox(s string) (Mailbox, error) {
	switch {
	case strings.ContainsAny(s, "\r\n"):
		return Mailbox{}, errors.New("has a line break")
	case !utf8.ValidString(s):
		return Mailbox{}, errors.New("is not UTF-8")
	}
	s = trim(s)
	tokens, err := tokensOf(s)
	at := indexOf(tokens, bracketed)
	if at < 0 {
		return parseBare(s, tokens, err)
	}
	a, fault := Parse(trim(tokens[at].text))
	if fault != nil {
		return Mailbox{}, fault
	}
	before, behind := trimBlanks(tokens[:at]), trimBlanks(tokens[at+1:])
	if err == nil && !onlyComments(behind) {
		err = errMailbox
	}
	if err != nil {
		return Mailbox{}, err
	}
	name, err := displayName(before, behind)
	if err != nil {
		return Mailbox{}, err
	}
	return Mailbox{Name: name, Address: a}, nil
}

var (
	errMailbox = errors.New(
		`is not an address, nor of the form Name <address>: put a name with a comma or other marks in "quotes"`)
	errParenthesis = errors.New(`has a parenthesis without its pair: put the name in "quotes"`)
)

// parseBare reads an address without < and >. Comments behind the address are the name: RFC 5322
// calls this the old form. The error is what stopped the tokens.
func parseBare(s string, tokens []token, err error) (Mailbox, error) {
	if err == errParenthesis {
		return Mailbox{}, err
	}
	end := len(tokens)
	for end > 0 && (tokens[end-1].kind == comment || tokens[end-1].isBlank()) {
		end--
	}
	for _, c := range tokens[end:] {
		s = s[:len(s)-len(c.text)]
	}
	a, err := Parse(trim(s))
	if err != nil {
		if strings.Contains(s, "<") {
			err = errMailbox
		}
		return Mailbox{}, err
	}
	name, err := displayName(nil, trimBlanks(tokens[end:]))
	if err != nil {
		return Mailbox{}, err
	}
	return Mailbox{Name: name, Address: a}, nil
}

// displayName returns the name that the tokens before an address and the comments behind it make.
func displayName(before, behind []token) (string, error) {
	// Quotation marks around the whole name protect it, and others are a part of the name.
	// Parentheses without a name around them are the old form.
	whole := len(before) > 0 && before[0].kind == quoted && onlyComments(before[1:])
	var b strings.Builder
	for i, t := range slices.Concat(before, behind) {
		bare := whole && i == 0 || len(before) == 0
		text, err := t.shown(bare)
		if err != nil {
			return "", err
		}
		if i >= len(before) || whole && i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(text)
	}
	name := b.String()
	if strings.ContainsFunc(name, isInvisibleInName) {
		return "", errors.New("has a control or invisible character in the name")
	}
	if whole && len(before)+len(behind) == 1 {
		return name, nil
	}
	isBlank := func(r rune) bool { return r == ' ' }
	return strings.TrimSpace(strings.Join(strings.FieldsFunc(name, isBlank), " ")), nil
}

// isInvisibleInName allows the two joiners, which Persian names and emoji need. It refuses the line
// and paragraph separators.
func isInvisibleInName(r rune) bool {
	return isInvisible(r) && r != '\u200c' && r != '\u200d' || r == '\u2028' || r == '\u2029'
}

func trim(s string) string { return strings.Trim(s, " \t") }

// token is a part of a mailbox. The text of a bracketed token is without < and >. The text of the
// others is as it is written.
type token struct {
	kind tokenKind
	text string
}

type tokenKind int

const (
	plain     tokenKind = iota
	quoted              // "…"
	comment             // (…), which may hold others
	bracketed           // <…>
)

// tokensOf splits a mailbox into tokens. The error says why the rest behind them is none.
func tokensOf(s string) (tokens []token, err error) {
	for s != "" {
		var t token
		var size int
		switch s[0] {
		case '"':
			size = quotedLength(s)
			t = token{quoted, s[:size]}
			err = errMailbox
		case '(':
			size = commentLength(s)
			t = token{comment, s[:size]}
			err = errParenthesis
		case ')':
			return tokens, errParenthesis
		case '<':
			size = bracketedLength(s)
			t = token{bracketed, s[min(1, size):max(size-1, 0)]}
			err = errMailbox
		default:
			size = len(s)
			if i := strings.IndexAny(s, `"()<`); i >= 0 {
				size = i
			}
			t = token{plain, s[:size]}
		}
		if size == 0 {
			return tokens, err
		}
		tokens = append(tokens, t)
		s = s[size:]
	}
	return tokens, nil
}

// quotedLength returns the length of the text in quotes that s begins with, or 0 if nothing closes
// it.
func quotedLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// commentLength returns the length of the comment that s begins with, or 0 if nothing closes it.
func commentLength(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// bracketedLength returns the length of the text in < and > that s begins with, or 0 if nothing
// closes it. A quoted local part may hold both marks.
func bracketedLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			i += max(quotedLength(s[i:])-1, 0)
		case '>':
			return i + 1
		}
	}
	return 0
}

// shown returns what a token is in a name. bare leaves out what encloses it: the quotation marks of
// a whole name, the parentheses of a comment without a name before it.
func (t token) shown(bare bool) (string, error) {
	text := t.text
	switch t.kind {
	case plain:
		if strings.ContainsAny(text, `,;>\`) {
			return "", errMailbox
		}
		return decodeWords(strings.ReplaceAll(text, "\t", " "))
	case quoted:
		text = text[1 : len(text)-1]
		if !bare {
			return `"` + unescape(text) + `"`, nil
		}
		return unescape(text), nil
	case comment:
		if bare {
			text = text[1 : len(text)-1]
		}
		return decodeWords(unescape(strings.ReplaceAll(text, "\t", " ")))
	}
	return "", errMailbox // a second address
}

func decodeWords(s string) (string, error) {
	decoded, err := new(mime.WordDecoder).DecodeHeader(s)
	if err != nil { // a character set that nobody here knows
		return "", errMailbox
	}
	return decoded, nil
}

// unescape removes the backslash before each character that has one.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (t token) isBlank() bool { return t.kind == plain && trim(t.text) == "" }

func indexOf(tokens []token, kind tokenKind) int {
	for i, t := range tokens {
		if t.kind == kind {
			return i
		}
	}
	return -1
}

// trimBlanks leaves out the blanks before and behind tokens.
func trimBlanks(tokens []token) []token {
	for len(tokens) > 0 && tokens[0].isBlank() {
		tokens = tokens[1:]
	}
	for len(tokens) > 0 && tokens[len(tokens)-1].isBlank() {
		tokens = tokens[:len(tokens)-1]
	}
	return tokens
}

func onlyComments(tokens []token) bool {
	for _, t := range tokens {
		if t.kind != comment && !t.isBlank() {
			return false
		}
	}
	return true
}
