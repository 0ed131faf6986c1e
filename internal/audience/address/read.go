package address

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Read reads an address as people write one: in a line of opt-outs, or on a command line. It leaves
// out blanks around the address, and the apostrophe that a report writes before = + and - (see
// [Guarded]). Marks around the address are an error: they may be part of it, or not.
func Read(s string) (Address, error) {
	s = strings.TrimSpace(s)
	a, err := parse(s)
	if err == nil {
		return a, nil
	}
	if Guarded(s) {
		if a, guarded := parse(s[1:]); guarded == nil {
			return a, nil
		}
	}
	return Address{}, explain(s, err)
}

// ReadPasted is Read for a list. It also takes off quotation marks, bullets, dashes and invisible
// characters around an address. What it took off is in taken, in words, or "".
func ReadPasted(s string) (a Address, taken string, err error) {
	if a, err = Read(s); err == nil {
		return a, "", nil
	}
	if a, taken = unwrap(strings.TrimSpace(s)); taken != "" {
		return a, taken, nil
	}
	return Address{}, "", err
}

// Guarded reports whether s begins as a report writes a value that a spreadsheet would take for a
// formula: with an apostrophe before = + - or @, which may be in quotation marks.
func Guarded(s string) bool {
	if len(s) < 2 || s[0] != '\'' {
		return false
	}
	rest := strings.TrimLeft(s[1:], `"'`)
	return rest != "" && strings.IndexByte("=+-@", rest[0]) >= 0
}

// unwrap takes marks off s, one by one, until an address is left. It returns "" if none is.
func unwrap(s string) (a Address, taken string) {
	if !utf8.ValidString(s) {
		return Address{}, ""
	}
	first := rune(0) // the ASCII mark that was taken off last in front, while none was taken off behind
	for range 16 {
		head, tail := leadingMark(s), trailingMark(s)
		if head == 0 && tail == 0 {
			return Address{}, ""
		}
		if head > 0 {
			first, _ = utf8.DecodeRuneInString(s)
			taken = addKind(taken, first)
			if s = strings.TrimSpace(s[head:]); isAddress(s, first, &a) {
				return a, taken
			}
			tail = trailingMark(s)
		}
		if tail > 0 {
			r, _ := utf8.DecodeLastRuneInString(s)
			taken, first = addKind(taken, r), 0
			if s = strings.TrimSpace(s[:len(s)-tail]); isAddress(s, first, &a) {
				return a, taken
			}
		}
	}
	return Address{}, ""
}

// isAddress reports whether s is an address, and returns it in a. Where only its local part stands
// in quotes ('ann'@…), it is none: what is meant is not clear.
func isAddress(s string, first rune, a *Address) bool {
	parsed, err := parse(s)
	if err != nil && Guarded(s) {
		parsed, err = parse(s[1:])
	}
	if err != nil || first != 0 && first < utf8.RuneSelf && strings.HasSuffix(parsed.local, string(first)) {
		return false
	}
	*a = parsed
	return true
}

// leadingMark returns the length of the mark that s begins with, or 0. A hyphen is a mark only
// before a blank: addresses may begin with one.
func leadingMark(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	if r == '-' || r == '+' {
		if next, _ := utf8.DecodeRuneInString(s[n:]); n == len(s) || !unicode.IsSpace(next) {
			return 0
		}
		return n
	}
	if kindOf(r) == "" {
		return 0
	}
	return n
}

// trailingMark returns the length of the mark that s ends with, or 0.
func trailingMark(s string) int {
	r, n := utf8.DecodeLastRuneInString(s)
	if kindOf(r) == "" {
		return 0
	}
	return n
}

// The kinds of marks, as messages call them.
const (
	quotationMark = "a quotation mark"
	dash          = "a dash"
	bullet        = "a bullet"
	invisible     = "an invisible character"
)

// kindOf returns the kind of a mark that pasting leaves around an address, or "".
func kindOf(r rune) string {
	switch {
	case r == utf8.RuneError:
		return "" // a character that was lost: it may be part of the address
	case unicode.Is(unicode.Quotation_Mark, r) || strings.ContainsRune("`´′″‵‶ʹʺʻʼʽˈ", r):
		return quotationMark
	case isDash(r):
		return dash
	case isBullet(r):
		return bullet
	case isInvisible(r) && r != '\n' && r != '\r' || r >= utf8.RuneSelf && unicode.IsSpace(r) || r == '\u2800':
		return invisible
	}
	return ""
}

// isDash takes the dash of Japanese (ー) with those of other scripts.
func isDash(r rune) bool {
	return unicode.In(r, unicode.Dash, unicode.Hyphen) && !isBullet(r) || r == 'ー'
}

const bullets = "*•‣⁌⁍·∙⋅‧・･※"

// isBullet reports whether r begins the items of lists: bullets, geometric shapes, arrows, ticks,
// stars, enclosed numbers, emoji, and Word's own bullets in the private area.
func isBullet(r rune) bool {
	return strings.ContainsRune(bullets, r) || r >= 0x2190 && r <= 0x21ff || r >= 0x2460 && r <= 0x27bf ||
		r >= 0x2b00 && r <= 0x2bff || r >= 0xf000 && r <= 0xf0ff || r >= 0x1f300 && r <= 0x1faff
}

// addKind adds the kind of r to the kinds of marks that were taken off.
func addKind(taken string, r rune) string {
	kind := kindOf(r)
	if kind == "" {
		kind = dash // a hyphen before a blank
	}
	if strings.Contains(taken, kind) {
		return taken
	}
	if taken != "" {
		taken += " and "
	}
	return taken + kind
}

// asciiName returns an ASCII character as an error shows it. A quotation mark of the error's own
// would be taken for a part of it.
func asciiName(r rune) string { return fmt.Sprintf("%c", r) }

// markName returns the kind of a character, with its number: the character itself may be invisible.
func markName(r rune) string {
	kind := kindOf(r)
	switch {
	case r == '\'':
		return "an apostrophe"
	case r == '`':
		return "a backquote"
	case r == '_':
		return "an underscore"
	case r == ' ' || unicode.IsSpace(r) && r < utf8.RuneSelf:
		return "a blank"
	case r < utf8.RuneSelf:
		return asciiName(r)
	case kind == "" && isWordCharacter(r):
		kind = "another form of a letter"
	case kind == "", kind == bullet && !strings.ContainsRune(bullets, r):
		kind = "a symbol"
	}
	return fmt.Sprintf("%s (%U)", kind, r)
}

// ErrSeveral says that a text is not one address, but several.
var ErrSeveral = errors.New("holds more than one address: give each of them a line of its own")

// explain returns a better reason than err why s is no address, where it recognizes what s is
// instead.
func explain(s string, err error) error {
	if s == "" || !utf8.ValidString(s) {
		return err
	}
	s = strings.TrimSpace(s)
	words := strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(",;|/、，；", r)
	})
	addresses, others := 0, 0
	for _, word := range words {
		switch word = strings.Trim(word, "<>()[]{}"); {
		case isOneAddress(word):
			addresses++
		case strings.ContainsFunc(word, unicode.IsLetter):
			others++
		}
	}
	switch {
	case addresses > 1:
		return ErrSeveral
	case err == errLineBreak:
		return err
	case addresses == 1 && others > 0:
		return errors.New("has a name or other text beside it: give the address alone")
	case len(s) > 7 && strings.EqualFold(s[:7], "mailto:"):
		return errors.New("begins with mailto: give the address alone")
	case strings.ContainsAny(s, "<>()[]{}") && isOneAddress(strings.Trim(s, "<>()[]{}")):
		return errors.New("is in brackets: give the address alone")
	}
	if a, taken := unwrap(s); taken != "" && a.domain != "" {
		return fmt.Errorf("has %s before or behind it: give the address alone", taken)
	}
	switch {
	case err == errNoAt && strings.ContainsAny(s, "＠﹫"):
		return errors.New("has another character in place of the @ (＠): write @")
	case wideDots.Replace(s) != s && isOneAddress(wideDots.Replace(s)):
		return errors.New("has another character in place of a dot (。): write a dot")
	case strings.Count(s, "@") > 1 && !strings.Contains(s, `"`):
		return errors.New("has the @ more than once")
	}
	return err
}

var wideDots = strings.NewReplacer("。", ".", "．", ".", "｡", ".")

// isOneAddress reports whether word is an address, perhaps with marks around it.
func isOneAddress(word string) bool {
	if _, err := parse(word); err == nil {
		return true
	}
	_, taken := unwrap(word)
	return taken != ""
}
