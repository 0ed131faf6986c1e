package database

import (
	"embed"
	"strings"
)

// Statements returns a function that returns the SQL statement of the file sql/NAME.sql, without
// the lines that are comments: the server and its logs need not see them. The function panics if
// there is no such file.
func Statements(files embed.FS) func(name string) string {
	return func(name string) string {
		text, err := files.ReadFile("sql/" + name + ".sql")
		if err != nil {
			panic(err)
		}
		var b strings.Builder
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(strings.TrimSpace(line), "--") {
				b.WriteString(line)
			}
		}
		return strings.TrimSpace(b.String())
	}
}
