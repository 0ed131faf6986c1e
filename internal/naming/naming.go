// Package naming has the one rule for the names that people give: those of lists, drop points and
// source databases, and the IDs of mailings. A name is safe in a file name, a URL, a header and a
// log.
package naming

import "regexp"

// Length limits in characters, which are ASCII.
const (
	MaxLength   = 63
	MaxIDLength = 100
)

// Pattern and IDPattern are the rules as regular expressions. The JSON schema of the input has
// them, too.
const (
	Pattern   = `^[a-z0-9]+([_-]?[a-z0-9])*$`
	IDPattern = `^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$`
)

// Rule and IDRule are the rules in words. They continue "must be".
const (
	Rule   = "up to 63 lower-case letters and digits, with single - or _ between them"
	IDRule = "up to 100 letters and digits, with single . _ or - between them"
)

var (
	pattern   = regexp.MustCompile(Pattern)
	idPattern = regexp.MustCompile(IDPattern)
)

// Valid reports whether s can name a list, a drop point or a source database.
func Valid(s string) bool { return len(s) <= MaxLength && pattern.MatchString(s) }

// ValidID reports whether s can be a mailing's ID. Every valid name is a valid ID. An ID is a
// dot-atom, because the Message-IDs of a mailing begin with it.
func ValidID(s string) bool { return len(s) <= MaxIDLength && idPattern.MatchString(s) }
