package smtptest

import (
	"strconv"
	"strings"
)

// Odd is a reply as some servers write it against the standard. Its first three digits are clear.
type Odd struct {
	Name string
	form string // ### stands for the code
	// Ends is true if it is clear where the reply ends, so that the session can go on.
	Ends bool
}

// Raw returns the reply with the code, octet by octet.
func (o Odd) Raw(code int) string {
	return strings.ReplaceAll(o.form, "###", strconv.Itoa(code))
}

// Action answers with the reply. If it has no clear end, the server then closes the connection, and
// has accepted the message if this is the answer to its final dot.
func (o Odd) Action(code int) *Action {
	return &Action{Raw: o.Raw(code), Die: !o.Ends, Accept: code/100 == 2}
}

// OddReplies are the kinds of replies that clients must understand all the same. Texts that are
// formulas for a spreadsheet, or that control a terminal, are among them.
var OddReplies = []Odd{
	{"a line of 5,000 octets", "### " + strings.Repeat("x", 5000) + "\r\n", true},
	{"a line of 300,000 octets", "###-" + strings.Repeat("x", 300_000) + "\r\n### done\r\n", true},
	{"a tab after the code", "###\tOk\r\n", true},
	{"tabs in all places", "###-\tone\r\n###\t\ttwo\r\n", true},
	{"another character after the code", "###:Ok\r\n", true},
	{"a blank line inside", "###-one\r\n\r\n### two\r\n", true},
	{"a blank line after", "### one\r\n\r\n", true},
	{"blank lines before", "\r\n \r\n\t\r\n### one\r\n", true},
	{"a line without a code inside", "###-one\r\nqueued as 4711\r\n2026-11-30 in the list\r\n### two\r\n", true},
	{"two blanks", "###  \r\n", true},
	{"one blank", "### \r\n", true},
	{"no text", "###\r\n", true},
	{"no text in several lines", "###-\r\n###-\r\n###\r\n", true},
	{"line feeds alone", "###-one\n###-two\n### three\n", true},
	{"a carriage return too many", "###-one\r\r\n### two\r\r\n", true},
	{"a NUL", "### a\x00b\r\n", true},
	{"nothing but a NUL", "### \x00\r\n", true},
	{"control characters", "### \x1b[2J\x1b]0;x\x07\b\x7f\r\n", true},
	{"ISO 8859-1", "### angenommen, zur\xfcck \xa0\x9b2J\r\n", true},
	{"invalid UTF-8", "### \xff\xc3\xed\xa0\x80\xf4\x90\x80\x80\r\n", true},
	{"invisible characters", "### \u202e\u2028\u2029\u0085\u200b\ufeff\r\n", true},
	{"a cut character at the limit of the text", "### " + strings.Repeat("\u00e9", 1023) + "\r\n", true},
	{"a formula", "### =HYPERLINK(\"http://192.0.2.1\";\"x\")\r\n", true},
	{"a formula after blanks", "###  \t @SUM(1+1)*cmd|' /C calc'!A0\r\n", true},
	{"quotes and angle brackets", "### \"<script>'],\\\r\n", true},
	{"200 lines", strings.Repeat("###-one\r\n", 200) + "### two\r\n", true},
	{"no end", "###-one\r\n", false},
	{"no end of the line", "### one", false},
	{"nothing but a code", "###", false},
	{"another kind of code at the end", "###-one\r\n399 two\r\n", false},
	{"too many octets", "### " + strings.Repeat("x", 2<<20) + "\r\n", false},
	{"too many lines", strings.Repeat("###-x\r\n", 5000) + "### x\r\n", false},
}

// begins reports whether the reply's code begins with the digits.
func begins(reply, digits string) bool {
	return strings.HasPrefix(strings.TrimLeft(reply, " \t\r\n"), digits)
}
