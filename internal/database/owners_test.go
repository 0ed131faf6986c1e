package database_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// owners says which package writes a table. Every other package calls it.
var owners = map[string]string{
	"lists":           "internal/audience/lists",
	"list_members":    "internal/audience/lists",
	"staged_members":  "internal/audience/lists",
	"opt_outs":        "internal/audience/optouts",
	"suppressions":    "internal/audience/optouts",
	"bounce_findings": "internal/audience/optouts",
	"recipients":      "internal/audience/recipients",
	"test_recipients": "internal/audience/recipients",
	"exceptions":      "internal/audience/recipients",
	"left_out":        "internal/audience/recipients",
	"mailings":        "internal/mailings",
	"seal_key":        "internal/mailings",
	"queries":         "internal/mailings",
	"batches":         "internal/ledger",
	"spool":           "internal/ledger",
	"deliveries":      "internal/ledger",
	"deferrals":       "internal/ledger",
	"rate_limits":     "internal/delivery/ratelimit",

	"events":            "internal/feedback/events",
	"event_counts":      "internal/feedback/events",
	"unread_reports":    "internal/feedback/events",
	"mailbox_positions": "internal/feedback/mailbox",
}

// withoutSQL are the folders whose programs call the owners, and hold no SQL themselves.
var withoutSQL = []string{"starter", "worker", "workflows", "activities", "examples"}

// Migrations write what they change; the packages of test/ and all tests write what they need.
func skipped(dir string) bool {
	base := path.Base(dir)
	return dir == "internal/database/migrations" || dir == "test" || base == "testdata" || base == "node_modules" ||
		strings.HasPrefix(base, ".") && dir != "."
}

func TestEachTableIsWrittenByItsOwnerOnly(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	eachFile(t, func(file, folder string, texts []sqlText) {
		for _, text := range texts {
			for _, w := range writesOf(text.text) {
				owner, known := owners[w.table]
				switch {
				case !known && w.certain:
					t.Errorf(
						"%s:%d: %s %s: no such table has an owner: name the table in the statement, and its owner here",
						file,
						text.line,
						w.verb,
						w.table,
					)
				case known && owner != folder:
					t.Errorf(
						"%s:%d: %s %s: only %s writes this table: call it",
						file,
						text.line,
						w.verb,
						w.table,
						owner,
					)
				case known:
					seen[w.table] = true
				}
			}
		}
	})
	for table := range owners {
		if !seen[table] {
			t.Errorf("nobody writes %s, or the test does not find where", table)
		}
	}
}

func TestEachTableOfTheSchemaHasAnOwnerThatSaysSo(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	created := regexp.MustCompile(`(?i)\bCREATE TABLE (\w+)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range created.FindAllStringSubmatch(string(text), -1) {
			if owner := owners[m[1]]; owner == "" {
				t.Errorf("%s: the table %s has no owner", file, m[1])
			} else if !strings.Contains(packageDoc(t, owner), m[1]) {
				t.Errorf("the comment of package %s does not say that it writes the table %s", owner, m[1])
			}
		}
	}
}

func TestProgramsAndActivitiesHoldNoSQL(t *testing.T) {
	t.Parallel()
	begins := regexp.MustCompile(
		`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|TRUNCATE|MERGE|COPY|BEGIN|SET|CREATE|ALTER|DROP|LOCK)\s`,
	)
	eachFile(t, func(file, folder string, texts []sqlText) {
		if !slices.Contains(withoutSQL, strings.Split(folder, "/")[0]) {
			return
		}
		for _, text := range texts {
			if begins.MatchString(text.text) || strings.HasSuffix(file, ".sql") {
				t.Errorf("%s:%d: SQL: it belongs to the package that owns the table", file, text.line)
			}
			if slices.Contains([]string{"github.com/jackc/pgx/v5", "database/sql"}, text.imported) {
				t.Errorf(
					"%s:%d: %s is imported: only packages below internal talk to the database",
					file,
					text.line,
					text.imported,
				)
			}
		}
	})
}

// sqlText is a text that may be SQL, or the path of an import.
type sqlText struct {
	line     int
	text     string
	imported string
}

// eachFile calls each for every Go file that is no test, and for every .sql file, with the texts in
// it.
func eachFile(t *testing.T, each func(file, folder string, texts []sqlText)) {
	t.Helper()
	root := os.DirFS("../..")
	files := 0
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if skipped(name) {
				return fs.SkipDir
			}
			return nil
		}
		// The folder of the package that a file belongs to: the statements of a package are in its
		// folder sql.
		folder := strings.TrimSuffix(path.Dir(name), "/sql")
		switch {
		case strings.HasSuffix(name, ".sql"):
			text, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			each(name, folder, []sqlText{{line: 1, text: string(text)}})
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			text, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			texts, err := textsOf(name, text)
			if err != nil {
				return err
			}
			each(name, folder, texts)
		default:
			return nil
		}
		files++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Fatalf("only %d files were found", files)
	}
}

// textsOf returns the strings of a Go file. A sum of strings is one text, in which "?" stands for
// every part that is no literal.
func textsOf(name string, source []byte) (texts []sqlText, err error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, 0)
	if err != nil {
		return nil, err
	}
	for _, i := range file.Imports {
		imported, _ := strconv.Unquote(i.Path.Value)
		texts = append(texts, sqlText{line: set.Position(i.Pos()).Line, imported: imported})
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		line := set.Position(n.Pos()).Line
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit, *ast.BinaryExpr:
			text, literal := concatenated(n.(ast.Expr))
			if literal {
				texts = append(texts, sqlText{line: line, text: text})
			}
			return !literal
		case *ast.CompositeLit: // pgx.Identifier{"table"} is for COPY
			if s, ok := n.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Identifier" {
				table := "?"
				if len(n.Elts) > 0 {
					table, _ = concatenated(n.Elts[len(n.Elts)-1])
				}
				texts = append(texts, sqlText{line: line, text: "COPY " + table})
				return false
			}
		}
		return true
	})
	return texts, nil
}

// concatenated returns the text of an expression, and whether there is a string literal in it.
func concatenated(e ast.Expr) (text string, literal bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.ParenExpr:
		return concatenated(e.X)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			left, a := concatenated(e.X)
			right, b := concatenated(e.Y)
			return left + right, a || b
		}
		return "", false
	}
	return "?", false
}

// write is a statement that writes a table. It is certain if its verb is in capitals, as in all SQL
// here: in any other text the verb may be a word.
type write struct {
	verb, table string
	certain     bool
}

var (
	comments = regexp.MustCompile(`--[^\n]*`)
	writing  = regexp.MustCompile(`(?i)(\b(?:FOR|DO|ON|OR|AFTER|NO KEY)\s+)?\b` +
		`(INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE\s+TABLE|TRUNCATE|COPY|UPDATE\s+ONLY|UPDATE)` +
		`\s+(?:"?(\w+)"?\.)?("?\w+"?|\S)`)
)

// writesOf finds the statements that write a table.
func writesOf(text string) (writes []write) {
	for _, m := range writing.FindAllStringSubmatch(comments.ReplaceAllString(text, ""), -1) {
		verb, table := m[2], strings.ToLower(strings.Trim(m[4], `"`))
		if m[1] != "" && strings.EqualFold(verb, "UPDATE") || strings.EqualFold(m[4], "SET") ||
			strings.EqualFold(m[4], "OF") {
			continue // FOR UPDATE, ON CONFLICT DO UPDATE SET, a trigger's event
		}
		writes = append(writes, write{verb, table, verb == strings.ToUpper(verb)})
	}
	return writes
}

func packageDoc(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var doc strings.Builder
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		doc.WriteString(file.Doc.Text())
	}
	return doc.String()
}

func TestWritesAreFoundHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for source, want := range map[string][]write{
		"`SELECT 1 FROM mailings FOR UPDATE`":                          nil,
		"`SELECT 1 FROM mailings m FOR NO KEY UPDATE OF m`":            nil,
		"`-- UPDATE mailings\nSELECT 1`":                               nil,
		"`INSERT INTO lists VALUES (1) ON CONFLICT DO UPDATE SET a=1`": {{"INSERT INTO", "lists", true}},
		"`WITH a AS (UPDATE mailings m SET x = 1) DELETE FROM spool`": {{"UPDATE", "mailings", true},
			{"DELETE FROM", "spool", true}},
		"\"update mailings \" + \"set x = 1\"":       {{"update", "mailings", false}},
		"\"DELETE FROM \" + table + \" WHERE true\"": {{"DELETE FROM", "?", true}},
		"fmt.Sprintf(`INSERT\nINTO %s`, table)":      {{"INSERT\nINTO", "%", true}},
		"\"TRUNCATE TABLE \" + `public.\"spool\"`":   {{"TRUNCATE TABLE", "spool", true}},
		"pgx.Identifier{\"batches\"}":                {{"COPY", "batches", true}},
		"pgx.Identifier{\"public\", table}":          {{"COPY", "?", true}},
	} {
		texts, err := textsOf("sample.go", []byte("package p\n\nvar x = "+source+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		var got []write
		for _, text := range texts {
			got = append(got, writesOf(text.text)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %+v, want %+v", source, got, want)
		}
	}
}
