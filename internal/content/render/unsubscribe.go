package render

import (
	"bytes"
	"regexp"
	"slices"
)

// UnsubscribeField is the field that holds the recipient's unsubscribe link in text and HTML. It
// needs no column. A column of the same name is used only when nobody can unsubscribe.
const UnsubscribeField = "unsubscribe_url"

// FieldUnsubscribe is the field of a mailing's input that says whether people can unsubscribe.
const FieldUnsubscribe = "unsubscribe"

// compileUnsubscribe sets the links. A subject is no place for one.
func (c *compiler) compileUnsubscribe() {
	if c.t.links = c.spec.Unsubscribe; c.t.links == nil || c.t.subject == nil {
		return
	}
	if slices.Contains(fieldsOf(c.t.subject), UnsubscribeField) {
		c.report(&Problem{Field: FieldSubject, Message: "uses unsubscribe_url: nobody can click on a subject; " +
			"write the link into text and HTML"})
	}
}

// placeholder is how a page names the link: {{.unsubscribe_url}}, as templates do, also as editors
// escape it in an attribute.
var placeholder = regexp.MustCompile(
	`\{\{ ?\.` + UnsubscribeField + ` ?\}\}|%7[Bb]%7[Bb](?:%20)?\.` + UnsubscribeField + `(?:%20)?%7[Dd]%7[Dd]`)

// fillPlaceholder writes the link into a fetched page. The link holds no character that HTML
// escapes. Pages may be shared by recipients, so the page itself does not change.
func fillPlaceholder(page []byte, link string) []byte {
	if !bytes.Contains(page, []byte("."+UnsubscribeField)) {
		return page
	}
	return placeholder.ReplaceAllLiteral(page, []byte(link))
}
