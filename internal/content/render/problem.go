package render

import "fmt"

// The fields that a [Problem] names, as in a mailing's input.
const (
	FieldMailing = "id"
	FieldFrom    = "from"
	FieldReplyTo = "reply_to"
	FieldToName  = "to_name"
	FieldSubject = "subject"
	FieldContent = "content"
	FieldText    = "content.text"
	FieldHTML    = "content.html"
	FieldListID  = "list_id"
	FieldDate    = "date"
	FieldHeaders = "headers" // a header is FieldHeaders, a dot, and its name
)

// Problem says what is wrong with a field, and where. As an error of [Renderer.Render] its field
// may also be "to" or "message_id". Line and Column count from 1, Column in characters. They are 0
// if they are not known. It holds no recipient data.
type Problem struct {
	Field        string
	Line, Column int
	Message      string
	// OfTemplate is true for a problem of [Renderer.Render] that no value of a field can avoid:
	// every recipient has it for whom the template comes to its place.
	OfTemplate bool
}

func (p *Problem) Error() string {
	switch {
	case p.Line == 0:
		return p.Field + ": " + p.Message
	case p.Column == 0:
		return fmt.Sprintf("%s line %d: %s", p.Field, p.Line, p.Message)
	}
	return fmt.Sprintf("%s line %d, column %d: %s", p.Field, p.Line, p.Column, p.Message)
}
