package message

import (
	"errors"
	"fmt"
	"strings"
)

// Field is a header field that a mailing adds to its messages.
type Field struct {
	Name  string // one that [CheckFieldName] accepts
	Value string // UTF-8 without control characters; encoded and folded as needed
}

// MaxFieldName is the length limit of the name of an added field, in octets.
const MaxFieldName = 60

// syntax is what the value of a field may be.
type syntax int

const (
	unstructured syntax = iota + 1 // any text
	phrases                        // texts with commas between them
	plain                          // ASCII that is never encoded: readers compare it
	urls                           // <URL>, <URL>
	messageIDs                     // <left@right> <left@right>
	feedbackID                     // up to four texts with colons between them
)

// allowed are the fields that a mailing may add, in lower case, besides X-….
var allowed = map[string]syntax{
	"comments":       unstructured,
	"organization":   unstructured,
	"keywords":       phrases,
	"auto-submitted": plain,
	"importance":     plain,
	"precedence":     plain,
	"priority":       plain,
	"sensitivity":    plain,
	"list-archive":   urls,
	"list-help":      urls,
	"list-owner":     urls,
	"list-post":      urls,
	"list-subscribe": urls,
	"in-reply-to":    messageIDs,
	"references":     messageIDs,
	"feedback-id":    feedbackID,
}

// allowedWords names the fields that a mailing may add.
const allowedWords = "X-…, Auto-Submitted, Comments, Feedback-ID, Importance, In-Reply-To, Keywords, " +
	"List-Archive, List-Help, List-Owner, List-Post, List-Subscribe, Organization, Precedence, Priority, " +
	"References and Sensitivity"

// instead says what to use instead of a field that Direct Mailer sets.
var instead = map[string]string{
	"from": "use from", "reply-to": "use reply_to", "subject": "use subject", "to": "use to_name for its name",
	"return-path": "use envelope_sender", "sender": "use from",
	"cc": "each message goes to one recipient", "bcc": "each message goes to one recipient",
}

// CheckFieldName returns why a mailing may not add a field of this name, or nil. The error
// continues the name.
func CheckFieldName(name string) error {
	lower := strings.ToLower(name)
	switch {
	case !isFieldName(name):
		return fmt.Errorf("is not a usable name: write up to %d letters, digits and hyphens", MaxFieldName)
	case instead[lower] != "":
		return errors.New("is set by Direct Mailer: " + instead[lower])
	case syntaxOf(lower) == 0:
		return errors.New("is not among the headers that a mailing may add: " + allowedWords)
	}
	return nil
}

func isFieldName(name string) bool {
	for i := 0; i < len(name); i++ {
		if !isAlphanumeric(name[i]) && (name[i] != '-' && name[i] != '_' || i == 0) {
			return false
		}
	}
	return name != "" && len(name) <= MaxFieldName
}

// syntaxOf returns the syntax of a field by its name in lower case; 0 if no mailing may add it.
func syntaxOf(lower string) syntax {
	if strings.HasPrefix(lower, "x-") && len(lower) > 2 {
		return unstructured
	}
	return allowed[lower]
}

// What a [FieldError] wraps for an added field.
var (
	errNotASCII   = errors.New("holds a character that is not ASCII, which this header cannot have")
	errLongWord   = errors.New("holds more than 900 octets without a blank")
	errURLs       = errors.New("is not of the form <https://example.com/page>, <mailto:list@example.com>")
	errMessageIDs = errors.New("is not of the form <left@right> <left@right>")
	errFeedbackID = errors.New("is not of the form campaign:customer:type:sender, with up to four fields without blanks")
)

// maxWord is how many octets may stand in a field without a blank (RFC 5322 §2.1.1: a line has
// 998).
const maxWord = 900

// AppendField appends a field with its line end. The error is a [*FieldError] for the field
// "headers.NAME".
func AppendField(b []byte, f Field) ([]byte, error) {
	out, err := appendField(b, f)
	if err != nil {
		return b, &FieldError{"headers." + f.Name, err}
	}
	return out, nil
}

func appendField(b []byte, f Field) ([]byte, error) {
	kind := syntaxOf(strings.ToLower(f.Name))
	isPlain, err := checkValue(f.Value)
	switch {
	case err != nil:
		return b, err
	case kind == 0 || !isFieldName(f.Name):
		return b, CheckFieldName(f.Name)
	}
	b = append(b, f.Name...)
	b = append(b, ": "...)
	column := len(f.Name) + 2
	switch {
	case kind == unstructured && isPlain && foldable(f.Value):
		b = appendFolded(b, column, f.Value)
	case kind == unstructured:
		b, column = roomForWord(b, column)
		b, _ = appendEncodedWords(b, column, f.Value)
	case kind == phrases:
		b = appendPhrases(b, column, f.Value)
	default:
		value := strings.Join(strings.Fields(f.Value), " ")
		if err := checkStructured(kind, value, isPlain); err != nil {
			return b, err
		}
		b = appendFolded(b, column, value)
	}
	return append(b, "\r\n"...), nil
}

// roomForWord begins a new line if a line is too full for an encoded word.
func roomForWord(b []byte, column int) ([]byte, int) {
	if column+wordFrame+4*3 <= wordLine { // the longest character has four octets of three each
		return b, column
	}
	return append(b, "\r\n "...), 1
}

// appendPhrases appends texts with commas between them.
func appendPhrases(b []byte, column int, value string) []byte {
	first := true
	for each := range strings.SplitSeq(value, ",") {
		if each = strings.Trim(each, " "); each == "" {
			continue
		}
		if !first {
			b = append(b, ",\r\n "...)
			column = 1
		}
		first = false
		isPlain, _ := checkValue(each)
		b, column = appendPhrase(b, column, each, isPlain)
	}
	return b
}

// checkStructured checks a value that is never encoded.
func checkStructured(kind syntax, value string, isPlain bool) error {
	if !isPlain {
		return errNotASCII
	}
	for word := range strings.SplitSeq(value, " ") {
		if len(word) > maxWord {
			return errLongWord
		}
		if kind == messageIDs && !validMessageID(word) {
			return errMessageIDs
		}
	}
	switch kind {
	case urls:
		return checkURLs(value)
	case feedbackID:
		if strings.Count(value, ":") > 3 || strings.Contains(value, " ") {
			return errFeedbackID
		}
	}
	return nil
}

func checkURLs(value string) error {
	if value == "NO" { // List-Post of a list that takes no mail
		return nil
	}
	for each := range strings.SplitSeq(value, ",") {
		each = strings.Trim(each, " ")
		inner := strings.TrimSuffix(strings.TrimPrefix(each, "<"), ">")
		if len(inner) != len(each)-2 || strings.ContainsAny(inner, `<> "`) || strings.Index(inner, ":") < 1 {
			return errURLs
		}
	}
	return nil
}
