package csvlist_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/text/encoding/charmap"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/member"
)

// inspect writes a file and inspects it. Errors call it list.csv.
func inspect(t *testing.T, text string, o csvlist.Options) (*csvlist.File, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("list.csv", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := csvlist.Inspect(t.Context(), "list.csv", o)
	if err == nil {
		t.Cleanup(f.Close)
	}
	return f, err
}

// members returns what becomes of each row, in the order of the file.
func members(t *testing.T, f *csvlist.File) (all []string, r *csvlist.Reader) {
	t.Helper()
	r, err := f.Members()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.OnReject = func(x member.Reject) { all = append(all, fmt.Sprint(x.Position, " ", x.Reason)) }
	for {
		m, err := r.Next()
		if err == io.EOF {
			return all, r
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(m.Position, " ", m.Address, " ", string(m.Attributes)))
	}
}

func TestAFileIsReadHoweverItsProgramWritesIt(t *testing.T) {
	const want = `ada@example.com {"name":"Ada, \"A\"","city":"Köln"}|bob@example.com {"name":"Bob","city":""}`
	const plain = "email;name;city\nada@example.com;\"Ada, \"\"A\"\"\";Köln\nbob@example.com;Bob;\n"
	units := utf16.Encode([]rune(plain))
	little, big := []byte{}, []byte{}
	for _, u := range units {
		little, big = append(little, byte(u), byte(u>>8)), append(big, byte(u>>8), byte(u))
	}
	western, err := charmap.Windows1252.NewEncoder().String(plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, encoding, letters string }{
		"plain":                      {plain, "utf-8", ""},
		"byte order mark":            {"\ufeff" + plain, "utf-8", ""},
		"two marks":                  {"\ufeff\ufeff" + plain, "utf-8", ""},
		"sep line":                   {"sep=;\r\n" + plain, "utf-8", ""},
		"mark and sep line":          {"\ufeff\"SEP=;\"\r\n" + plain, "utf-8", ""},
		"sep line with another":      {"sep=,\n" + plain, "utf-8", ""},
		"Windows":                    {strings.ReplaceAll(plain, "\n", "\r\n"), "utf-8", ""},
		"old Mac":                    {strings.ReplaceAll(plain, "\n", "\r"), "utf-8", ""},
		"mixed line ends":            {strings.Replace(plain, "\n", "\r", 1), "utf-8", ""},
		"no line end":                {strings.TrimRight(plain, "\n"), "utf-8", ""},
		"end of a DOS file":          {plain + "\x1a", "utf-8", ""},
		"blank lines":                {"\n;;\n" + strings.ReplaceAll(plain, "\n", "\n\n;;\n \n"), "utf-8", ""},
		"tabs":                       {strings.ReplaceAll(plain, ";", "\t"), "utf-8", ""},
		"bars":                       {strings.ReplaceAll(plain, ";", "|"), "utf-8", ""},
		"commas":                     {strings.ReplaceAll(plain, ";", ","), "utf-8", ""},
		"blanks around quotes":       {strings.ReplaceAll(plain, "\"Ada, \"\"A\"\"\"", ` "Ada, ""A""" `), "utf-8", ""},
		"trailing separators":        {strings.ReplaceAll(plain, "\n", ";;\n"), "utf-8", ""},
		"UTF-16 little, with mark":   {"\xff\xfe" + string(little), "utf-16le", ""},
		"UTF-16 big, with mark":      {"\xfe\xff" + string(big), "utf-16be", ""},
		"UTF-16 little without mark": {string(little), "utf-16le", ""},
		"UTF-16 big without mark":    {string(big), "utf-16be", ""},
		"Windows-1252":               {western, "windows-1252", "ö"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := inspect(t, c.text, csvlist.Options{})
			if err != nil {
				t.Fatal(err)
			}
			all, _ := members(t, f)
			for i, m := range all {
				_, all[i], _ = strings.Cut(m, " ") // without the line
			}
			if got := strings.Join(all, "|"); got != want || f.Encoding != c.encoding || f.Letters != c.letters {
				t.Errorf("got %s, %s, %q", got, f.Encoding, f.Letters)
			}
		})
	}
}

func TestAQuotationMarkInsideACellIsACharacter(t *testing.T) {
	f, err := inspect(t, "email,name\nada@example.com,Ada \"the first\" L.\nbob@example.com,5\" x\n", csvlist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, _ := members(t, f)
	if got := strings.Join(all, "|"); got != `2 ada@example.com {"name":"Ada \"the first\" L."}|`+
		`3 bob@example.com {"name":"5\" x"}` {
		t.Errorf("got %s", got)
	}
}

func TestTheSeparatorIsTheDeclaredOneAndOfTwoThatDoTheCommonest(t *testing.T) {
	for text, want := range map[string]string{
		"sep=;\na,email,b,d;email;c\n1,x@example.com,2,3;ada@example.com;4\n": "3 ada@example.com",
		"email;a,email\nx@example.com;1,ada@example.com\n":                    "2 ada@example.com",
	} {
		f, err := inspect(t, text, csvlist.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if all, _ := members(t, f); len(all) != 1 || !strings.HasPrefix(all[0], want) {
			t.Errorf("%q: got %q, want %s", text, all, want)
		}
	}
}

// An address has enough of ASCII, whatever the names are.
func TestUTF16WithoutAMarkIsRecognizedInAnyScript(t *testing.T) {
	var text []byte
	for _, u := range utf16.Encode([]rune("email,名前\nada@e.jp," + strings.Repeat("漢字", 20) + "\n")) {
		text = append(text, byte(u), byte(u>>8))
	}
	f, err := inspect(t, string(text), csvlist.Options{})
	if err != nil || f.Encoding != "utf-16le" {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestAnEncodingThatIsNotCertainMustBeNamed(t *testing.T) {
	rows := func(names ...string) (text string) {
		for i, n := range names {
			text += fmt.Sprintf("p%d@example.com,%s\n", i, n)
		}
		return "email,name\n" + text
	}
	encode := func(cm *charmap.Charmap, names ...string) string {
		t.Helper()
		text, err := cm.NewEncoder().String(rows(names...))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, c := range map[string]struct{ text, want, named, first string }{
		"Cyrillic": {encode(charmap.Windows1251, "Анна", "Борис"), "list.csv:2: is not UTF-8, and not clearly Windows-1252",
			"windows-1251", "Анна"},
		"Polish": {encode(charmap.Windows1250, "Małgorzata", "Paweł", "Stanisław", "Józefa"),
			"list.csv:2: is not UTF-8, and not clearly", "cp1250", "Małgorzata"},
		"Mac": {encode(charmap.Macintosh, "Müller", "Jörg"), "list.csv:2: is not UTF-8, and not clearly",
			"macintosh", "Müller"},
		"Greek": {encode(charmap.Windows1253, "Άννα", "Γιώργος"), "list.csv:2: is not UTF-8", "windows-1253", "Άννα"},
		"mixed": {rows("Jörg", "Zoë") + encode(charmap.Windows1252, "Zoë")[11:],
			"list.csv:4: column 2 is not UTF-8", "", ""},
		"one bad line": {rows("Jörg", "B\xf6b", "Åsa"), "list.csv:3: column 2 is not UTF-8", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := inspect(t, c.text, csvlist.Options{})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if c.named == "" {
				return
			}
			f, err := inspect(t, c.text, csvlist.Options{Encoding: c.named})
			if err != nil {
				t.Fatal(err)
			}
			if all, _ := members(t, f); !strings.Contains(all[0], c.first) {
				t.Errorf("as %s: %s", c.named, all[0])
			}
		})
	}
}

func TestAValidUTF8FileIsNeverReadAsAnotherEncoding(t *testing.T) {
	f, err := inspect(t, "email,name\n"+strings.Repeat("ada@example.com,Ada\n", 20_000)+"bob@example.com,Zoë Ã¼ ½\n",
		csvlist.Options{})
	if err != nil || f.Encoding != "utf-8" || f.Rows != 20_001 {
		t.Fatalf("got %+v, %v", f, err)
	}
	all, _ := members(t, f)
	if got := all[20_000]; got != `20002 bob@example.com {"name":"Zoë Ã¼ ½"}` {
		t.Errorf("got %s", got)
	}
	// The encoding is recognized at the end of a long file, too.
	f, err = inspect(t, "email,name\n"+strings.Repeat("ada@example.com,Ada\n", 20_000)+"bob@example.com,Zo\xeb\n",
		csvlist.Options{})
	if err != nil || f.Encoding != "windows-1252" {
		t.Fatalf("got %+v, %v", f, err)
	}
	if all, _ = members(t, f); all[20_000] != `20002 bob@example.com {"name":"Zoë"}` {
		t.Errorf("got %s", all[20_000])
	}
}

func TestTextThatWasDamagedBeforeIsToldByLineAndColumn(t *testing.T) {
	f, err := inspect(t, "email,name,note\nada@example.com,São Müller,Â \nbob@example.com,x,itâ€™s\n"+
		"eve@example.com,MÃ¼ller,\nkim@example.com,K\ufffdln,\n", csvlist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range f.Warnings {
		got = append(got, fmt.Sprintf("%d:%d %d", w.Line, w.Column, w.Rows))
	}
	if strings.Join(got, "|") != "3:3 2|5:2 1" {
		t.Errorf("got %v", got)
	}
}

func TestAllFaultsOfAFileAreReportedAtOnce(t *testing.T) {
	_, err := inspect(t, "email,name\nada@example.com,\"A\"x\nbob@example.com,Bob\neve@example.com,\"Eve\n"+
		"kim@example.com,K\x00m\n", csvlist.Options{})
	want := "list.csv:2: has text after a closing quotation mark (\"): double each mark inside a field\n" +
		"list.csv:4: has a quotation mark (\") that is not closed: close it, or double it inside a field\n" +
		"list.csv:5: column 2 holds a NUL character, so this is not a text: save it as CSV UTF-8"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	_, err = inspect(t, "email,name\n"+strings.Repeat("ada@example.com,\"A\n", 1000), csvlist.Options{})
	var faults *csvlist.Faults
	if !errors.As(err, &faults) || len(faults.First) != 20 || !faults.Perhaps {
		t.Errorf("got %v", err)
	}
	_, err = inspect(t, "email,name\n"+strings.Repeat("ada@example.com,\x00\n", 1000), csvlist.Options{})
	if !errors.As(err, &faults) || len(faults.First) != 20 || faults.More != 980 ||
		!strings.HasSuffix(err.Error(), "and 980 more") {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatIsNoListSaysWhatItIs(t *testing.T) {
	for text, want := range map[string]string{
		"PK\x03\x04xl/workbook.xml":             "list.csv:1: is a workbook (.xlsx",
		"\xd0\xcf\x11\xe0\xa1\xb1":              "list.csv:1: is an old Excel workbook",
		"\x1f\x8b\x08":                          "list.csv:1: is compressed",
		"\xff\xfe\x00\x00e\x00\x00\x00":         "list.csv:1: is UTF-32",
		"e\x00\x00\x00m\x00\x00\x00":            "list.csv:1: is not a text",
		"Members 2026\n\nEmail,Name\na@b.c,A\n": "list.csv:1: does not name the columns, but line 3 does",
		"sep= \nemail\na@b.c\n":                 "list.csv:1: does not name the columns, but line 2 does",
		"sep=;\n":                               "list.csv: is empty",
		"sep=;\nx;y\n": "list.csv:2: has no column for the e-mail address: name it email; " +
			"the columns are x, y",
		"a;b,c\nx;y,z\n": "list.csv:1: has no column",
	} {
		if _, err := inspect(t, text, csvlist.Options{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	for encoding, want := range map[string]string{
		"klingon": "list.csv: the encoding is not a known encoding",
		"latin1":  "list.csv:1: is utf-8, not windows-1252",
	} {
		_, err := inspect(t, "\ufeffemail\na@example.com\n", csvlist.Options{Encoding: encoding})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", encoding, err, want)
		}
	}
}

func TestARowThatLacksItsLastCellsIsFilledUpIfTheOthersFit(t *testing.T) {
	f, err := inspect(t, "name,email,points,plan,\n"+
		"Ada,ada@example.com,10,gold,\n"+ // 2
		"Bob,bob@example.com\n"+ // 3: filled
		"Eve,eve@example.com,20\n"+ // 4: filled
		"Kim,kim@example.com,gold\n"+ // 5: points are missing
		"42,lee@example.com\n"+ // 6: no name
		"pat@example.com,Pat\n"+ // 7: the address is in another place
		"Max\n"+ // 8: no address
		"\"Ann\ndora@example.com\",hal@example.com\n"+ // 9, 10: perhaps a quotation mark is missing
		"Gus,gus@example.com,30,free,, \n"+ // 11: blank ones are too many
		"Hal,hal@example.com,30,free,,x\n"+ // 12
		"Ian,ian@example.com,40,free\n", csvlist.Options{}) // 13: only the column without a name is missing
	if err != nil {
		t.Fatal(err)
	}
	all, r := members(t, f)
	want := []string{
		`2 ada@example.com {"name":"Ada","points":"10","plan":"gold"}`,
		`3 bob@example.com {"name":"Bob","points":"","plan":""}`,
		`4 eve@example.com {"name":"Eve","points":"20","plan":""}`,
		"5 has 3 fields, but the header names 5 columns",
		"6 has 2 fields, but the header names 5 columns",
		"7 has 2 fields, but the header names 5 columns",
		"8 has 1 field, but the header names 5 columns",
		"9 has 2 fields, but the header names 5 columns",
		`11 gus@example.com {"name":"Gus","points":"30","plan":"free"}`,
		"12 has 6 fields, but the header names 5 columns",
		`13 ian@example.com {"name":"Ian","points":"40","plan":"free"}`,
	}
	if strings.Join(all, "\n") != strings.Join(want, "\n") || r.Filled() != 2 || r.Rejected() != 6 {
		t.Errorf("filled %d, rejected %d:\n%s", r.Filled(), r.Rejected(), strings.Join(all, "\n"))
	}
}

func TestACellOutsideTheFewValuesOfItsColumnDoesNotFit(t *testing.T) {
	rows := strings.Repeat("ada@example.com,gold,Ada\nbob@example.com,free,Bob\n", 30)
	f, err := inspect(t, "email,plan,name\n"+rows+"eve@example.com,Eve\nkim@example.com,gold\n", csvlist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, r := members(t, f)
	if r.Filled() != 1 || r.Rejected() != 1 || all[60] != "62 has 2 fields, but the header names 3 columns" {
		t.Errorf("got %v", all[59:])
	}
}

const withStatus = "Email,Name,Status,Bounced\nada@example.com,Ada,subscribed,no\n" +
	"bob@example.com,Bob,Unsubscribed,no\neve@example.com,Eve,subscribed,yes\nkim@example.com,Kim\n" +
	"nobody,Max,unsubscribed,no\nlee@example.com,Lee,subscribed,\n"

func TestNobodyIsReadWhileAStatusColumnIsUndecided(t *testing.T) {
	f, err := inspect(t, withStatus, csvlist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Members()
	const want = "list.csv: column 3 (Status) says who may be mailed: 3 active (subscribed 3), " +
		"3 not ((empty) 1, Unsubscribed 1, unsubscribed 1); " +
		"column 4 (Bounced) says who may be mailed: 5 active (no 3, (empty) 2), 1 not (yes 1)"
	var undecided *csvlist.UndecidedError
	if !errors.As(err, &undecided) || err.Error() != want {
		t.Errorf("got %v", err)
	}
	f.Decide(csvlist.IgnoreStatus)
	if all, _ := members(t, f); len(all) != 6 {
		t.Errorf("with ignore: %v", all)
	}
}

func TestOnlyTheActiveAreMembersWhereTheStatusIsUsed(t *testing.T) {
	f, err := inspect(t, withStatus, csvlist.Options{Status: csvlist.UseStatus})
	if err != nil {
		t.Fatal(err)
	}
	all, r := members(t, f)
	want := `2 ada@example.com {"name":"Ada","status":"subscribed","bounced":"no"}|` +
		`7 lee@example.com {"name":"Lee","status":"subscribed","bounced":""}`
	left := fmt.Sprint(r.LeftOut())
	if strings.Join(all, "|") != want || r.Rejected() != 0 ||
		left != "[{Bounced yes 1} {Status (empty) 1} {Status Unsubscribed 1} {Status unsubscribed 1}]" {
		t.Errorf("got %v, %s", all, left)
	}
	// An import asks for those who are left out, to leave out their other rows as well.
	r, err = f.Members()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.WithInactive = true
	var each []string
	for {
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		each = append(each, fmt.Sprint(m.Address, " ", m.Inactive))
	}
	const whole = "ada@example.com false|bob@example.com true|eve@example.com true|kim@example.com true|" +
		"lee@example.com false" // and nobody without an address
	if got := strings.Join(each, "|"); got != whole || r.Active() != 2 {
		t.Errorf("with the inactive: %s, %d active", got, r.Active())
	}
}

func TestAStatusInAColumnWithoutANameIsFound(t *testing.T) {
	f, err := inspect(t, "email,name,\nada@example.com,Ada,\nbob@example.com,Bob,unsubscribed\n", csvlist.Options{})
	if err != nil || f.Undecided() == nil {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestTheOutcomesOfAReportAreNoStatus(t *testing.T) {
	f, err := inspect(t, "address,outcome,attempts,possibly_twice\nada@example.com,sent,1,false\n"+
		"bob@example.com,opted_out,0,false\n", csvlist.Options{})
	if err != nil || f.Undecided() != nil {
		t.Errorf("got %v, %v", err, f.Undecided())
	}
}

func TestAFileThatChangesAfterItWasInspectedIsNotRead(t *testing.T) {
	f, err := inspect(t, "email\nada@example.com\n", csvlist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("list.csv", []byte("email,status\nada@example.com,unsubscribed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Members(); err == nil || !strings.Contains(err.Error(), "changes while it is read") {
		t.Errorf("got %v", err)
	}
}

// What somebody is still writing ends in a part of a row, perhaps in a part of an address.
func TestAFileThatGrowsWhileItsMembersAreReadIsAnError(t *testing.T) {
	f, err := inspect(t, "email\nada@example.com\nbob@example.co", csvlist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Members()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.WriteFile("list.csv", []byte("email\nada@example.com\nbob@example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = r.Next()
	}
	if !strings.Contains(err.Error(), "list.csv: changes while it is read") {
		t.Errorf("got %v", err)
	}
}

func TestAPipeIsReadOnceAndInspectedAsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	makePipe(t, path)
	done := make(chan error, 1)
	go func() {
		done <- os.WriteFile(path, []byte("email,name\nada@example.com,Zo\xeb\n"), 0)
	}()
	f, err := csvlist.Inspect(t.Context(), path, csvlist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if all, _ := members(t, f); len(all) != 1 || all[0] != `2 ada@example.com {"name":"Zoë"}` {
		t.Errorf("got %v", all)
	}
}

// BenchmarkInspect reads a file of 100,000 rows as [BenchmarkNext] has them.
func BenchmarkInspect(b *testing.B) {
	var text strings.Builder
	text.WriteString("email,first_name,last_name,city,plan,points,note\n")
	for i := range 50_000 {
		fmt.Fprintf(&text, "ada.lovelace%d@mail.example.com,Ada,Lovelace %d,London,gold,1815,\"Countess, mathematician\"\n"+
			"j.o'brien%d@example.org,Jörg,O'Brien,Zürich,silver,%d,\n", i, i, i, i)
	}
	path := filepath.Join(b.TempDir(), "list.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f, err := csvlist.Inspect(b.Context(), path, csvlist.Options{})
		if err != nil || f.Rows != 100_000 {
			b.Fatal(err)
		}
		f.Close()
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
