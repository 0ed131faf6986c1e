package csvlist_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/member"
)

// open inspects the file and opens its members.
func open(t *testing.T, path string) (*csvlist.Reader, error) {
	t.Helper()
	f, err := csvlist.Inspect(t.Context(), path, csvlist.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Members()
}

type row struct {
	line       int64
	address    string
	attributes string
}

func read(t *testing.T, text string) (columns []string, rows []row, rejects []member.Reject, err error) {
	t.Helper()
	r, err := csvlist.NewReader(iotest.OneByteReader(strings.NewReader(text)), "people.csv")
	if err != nil {
		return nil, nil, nil, err
	}
	r.OnReject = func(j member.Reject) { rejects = append(rejects, j) }
	for {
		m, err := r.Next()
		if err != nil {
			if again, repeated := r.Next(); again.Position != 0 || repeated != err {
				t.Errorf("after %v came %+v, %v", err, again, repeated)
			}
			if err == io.EOF {
				err = nil
			}
			if r.Rejected() != int64(len(rejects)) || err == nil && r.BytesRead() != int64(len(text)) {
				t.Errorf(
					"counted %d rejects of %d, %d octets of %d",
					r.Rejected(),
					len(rejects),
					r.BytesRead(),
					len(text),
				)
			}
			return r.Columns(), rows, rejects, err
		}
		rows = append(rows, row{m.Position, m.Address.String(), string(m.Attributes)})
	}
}

func TestColumnsBecomeFieldsWhateverSeparatesThem(t *testing.T) {
	t.Parallel()
	want := []row{{2, "ada@example.com", `{"first_name":"Ada","home_town":"London","prénom":"A"}`}}
	for name, text := range map[string]string{
		"comma":     "First Name,EMAIL,home-town,Prénom\nAda,ada@example.com,London,A\n",
		"semicolon": "First Name;E-Mail;home-town;Prénom\r\nAda;ada@example.com;London;A\r\n",
		"tab":       "First Name\tE-mail address\thome-town\tPrénom\nAda\tada@example.com\tLondon\tA",
		"mark":      "\ufeffFirst Name,mail,home-town,Prénom\nAda,ada@example.com,London,A\n",
		"quotes": "\"First Name\",\"rcp_email\",\"home-town\",\"Prénom\"\n" +
			"\"Ada\",\"ada@example.com\",\"London\",\"A\"\n",
		"commas in quotes":  "\"First Name\";\"email_address\";home-town;Pre\u0301nom\nAda;ada@example.com;London;A\n",
		"blanks at address": " First Name , email ,home-town,Prénom\nAda, ada@example.com ,London,A\n\n",
	} {
		columns, rows, rejects, err := read(t, text)
		if err != nil || len(rejects) > 0 || !slices.Equal(rows, want) ||
			strings.Join(columns, " ") != "first_name home_town prénom" {
			t.Errorf("%s: got %v, %v, %v, %v", name, columns, rows, rejects, err)
		}
	}
}

func TestValuesLoseNothingButTheBlanksAroundThem(t *testing.T) {
	t.Parallel()
	_, rows, rejects, err := read(t, "email,note,more\n"+
		"ada@example.com,\"Smith, \"\"J\"\"\n2nd line\", two  blanks \n"+
		"bob@example.com,O'Brien <b>&amp;</b>\\n,\u00a0a\x01\x1f\x7f\t\u2028😀\u200b\n")
	if err != nil || len(rejects) > 0 || len(rows) != 2 || rows[1].line != 4 {
		t.Fatalf("got %v, %v, %v", rows, rejects, err)
	}
	for i, want := range []map[string]string{
		{"note": "Smith, \"J\"\n2nd line", "more": "two  blanks"},
		{"note": `O'Brien <b>&amp;</b>\n`, "more": "a\x01\x1f\x7f\t\u2028😀"},
	} {
		var got map[string]string
		if err := json.Unmarshal([]byte(rows[i].attributes), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("row %d: %s, %v", i, rows[i].attributes, err)
		}
	}
}

func TestAListOfAddressesAloneIsAList(t *testing.T) {
	t.Parallel()
	columns, rows, _, err := read(t, "email\nada@example.com\nbob@example.com")
	if err != nil || len(columns) != 0 || len(rows) != 2 || rows[1].attributes != "{}" {
		t.Errorf("got %v, %v, %v", columns, rows, err)
	}
}

func TestOfSeveralAddressColumnsTheMostCertainIsTaken(t *testing.T) {
	t.Parallel()
	columns, rows, _, err := read(t, "mail,email\npaper,ada@example.com\n")
	if err != nil || strings.Join(columns, " ") != "mail" || len(rows) != 1 ||
		rows[0].attributes != `{"mail":"paper"}` {
		t.Errorf("got %v, %v, %v", columns, rows, err)
	}
}

func TestRowsThatCannotBeUsedAreToldByLineAndTheRestIsRead(t *testing.T) {
	t.Parallel()
	_, rows, rejects, err := read(t, "email,name\n"+
		"secret@example.com,Ada,London\n"+ // 2
		"secret\n"+ // 3
		",Ada\n"+ // 4
		"  ,\"A\nda\"\n"+ // 5, 6
		"secret,Ada\n"+ // 7
		"\"secret@example.com\nRCPT TO:<secret@example.org>\",Ada\n"+ // 8, 9
		"secret@example.com> NOTIFY=NEVER,Ada\n"+ // 10
		"Secret <secret@example.com>,Ada\n"+ // 11
		"secret@example.com,"+strings.Repeat("x", 64<<10)+"\n"+ // 12
		"\n , \n"+ // 13, 14
		"bob@example.com,Bob\n") // 15
	if err != nil || len(rows) != 1 || rows[0].line != 15 {
		t.Fatalf("got %v, %v", rows, err)
	}
	want := []struct {
		line int64
		part string
	}{
		{
			2,
			"has 3 fields, but the header names 2 columns",
		}, {3, "has 1 field, but"}, {4, "has no address"}, {5, "has no address"}, {7, "the address has no @"},
		{8, "line break"}, {10, "text beside it"}, {11, "name or other text beside it"}, {12, "64 KiB"},
	}
	for i, reject := range rejects {
		if i >= len(want) || reject.Position != want[i].line || !strings.Contains(reject.Reason, want[i].part) ||
			strings.Contains(reject.Reason, "ecret") {
			t.Errorf("reject %d: %+v", i, reject)
		}
	}
	if len(rejects) != len(want) {
		t.Errorf("%d rejects, want %d", len(rejects), len(want))
	}
}

func TestMarksAroundAnAddressAreTakenOffAndToldByLine(t *testing.T) {
	t.Parallel()
	r, err := csvlist.NewReader(strings.NewReader("address,name\n"+
		"«pat@example.org»,Pat\n"+ // 2
		"'-lee@example.org,Lee\n"+ // 3, as a report has it
		"\"\"\"kim@example.org\"\"\",Kim\n"+ // 4
		"\"pat@example.org, lee@example.org\",Both\n"+ // 5
		"pat@example.org™,Pat\n"), "people.csv") // 6
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	r.OnPasted = func(p member.Pasted) { got = append(got, fmt.Sprint(p.Position, " lost ", p.Taken)) }
	r.OnReject = func(x member.Reject) { got = append(got, fmt.Sprint(x.Position, " ", x.Reason)) }
	for {
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m.Position, " is ", m.Address))
	}
	want := []string{
		"2 lost a quotation mark", "2 is pat@example.org", "3 is -lee@example.org",
		"4 lost a quotation mark", "4 is kim@example.org",
		"5 the address column holds more than one address: give each of them a line of its own",
		"6 the address has no valid domain name after the @: it has a character that no domain name has: " +
			"a symbol (U+2122)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestAFileThatIsDoubtfulAsAWholeStopsTheImport(t *testing.T) {
	t.Parallel()
	good := "email,name\nada@example.com,Ada\n"
	for text, want := range map[string]string{
		"":        "people.csv: is empty",
		"\ufeff":  "people.csv: is empty",
		"\n\n \n": "people.csv: is empty",
		"name,city\nAda,London\n": "people.csv:1: has no column for the e-mail address: name it email; " +
			"the columns are name, city",
		"ada@example.com\nbob@example.com\n":    "people.csv:1: holds an @ in column 1: the first line must name the columns",
		"email,pr\xe9nom\n":                     "people.csv:1: column 2 is not UTF-8",
		good + "bob@example.com,B\xf6b\n":       "people.csv:3: column 2 is not UTF-8",
		good + "bob@example.com,\"\n\xf6\"\n":   "people.csv:3: column 2 is not UTF-8",
		good + "bob@example.com,\x00\n":         "people.csv:3: column 2 holds a NUL",
		good + "bob@example.com,\"Bob\" x\n":    `people.csv:3: has text after a closing quotation mark`,
		good + "bob@example.com,\"Bob\n\nx,y\n": `people.csv:3: has a quotation mark (") that is not closed`,
		"email,\"name\n":                        `people.csv:1: `,
	} {
		_, _, _, err := read(t, text)
		var whole *csvlist.Error
		if !errors.As(err, &whole) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// endless repeats a text for ever.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		copied := copy(p[n:], e.text[e.at:])
		n += copied
		e.at = (e.at + copied) % len(e.text)
	}
	return n, nil
}

func TestAMissingQuotationMarkDoesNotReadTheWholeFile(t *testing.T) {
	t.Parallel()
	r, err := csvlist.NewReader(
		io.MultiReader(
			strings.NewReader("email,name\nada@example.com,Ada\nbob@example.com,\"Bob\n"),
			&endless{text: "eve@example.com,Eve\n"},
		),
		"people.csv",
	)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = r.Next()
	}
	if want := "people.csv:3: the row that begins here is longer than 1 MiB: is a closing quotation mark " +
		"missing?"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if r.BytesRead() > 2<<20 {
		t.Errorf("%d octets were read", r.BytesRead())
	}
	if _, err := csvlist.NewReader(&endless{text: "email,"}, "people.csv"); err == nil ||
		!strings.Contains(err.Error(), "people.csv:1: the first line is longer than 64 KiB") {
		t.Errorf("a header without end: %v", err)
	}
}

func TestAFailingDiskStopsTheImport(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	r, err := csvlist.NewReader(
		io.MultiReader(
			strings.NewReader("email\n"+strings.Repeat("ada@example.com\n", 10_000)),
			iotest.ErrReader(broken),
		),
		"people.csv",
	)
	for err == nil {
		_, err = r.Next()
	}
	if !errors.Is(err, broken) || err.Error() != "people.csv: input/output error" {
		t.Errorf("got %v", err)
	}
}

func TestFilesThatCannotBeReadAreNamed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	missing := filepath.Join(folder, "missing.csv")
	if _, err := open(t, missing); err == nil || err.Error() != missing+": there is no such file" ||
		!errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := open(t, folder); err == nil || err.Error() != folder+": is a folder, not a file" {
		t.Errorf("folder: %v", err)
	}
	locked := filepath.Join(folder, "locked.csv")
	if err := os.WriteFile(locked, []byte("email\n"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, locked); os.Geteuid() != 0 &&
		(err == nil || err.Error() != locked+": may not be read: permission denied") {
		t.Errorf("locked: %v", err)
	}
	good := filepath.Join(folder, "good.csv")
	if err := os.WriteFile(good, []byte("email\nada@example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := open(t, good)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := r.Next(); err != nil || m.Address.String() != "ada@example.com" || r.Size() != 22 ||
		r.BytesRead() != 22 {
		t.Errorf("got %+v, %v, size %d, read %d", m, err, r.Size(), r.BytesRead())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkNext reads rows as lists have them: an address and six fields.
func BenchmarkNext(b *testing.B) {
	rows := "ada.lovelace@mail.example.com,Ada,Lovelace,London,gold,1815,\"Countess, mathematician\"\n" +
		"j.o'brien@example.org,Jörg,O'Brien,Zürich,silver,12,\n"
	input := io.MultiReader(
		strings.NewReader("email,first_name,last_name,city,plan,points,note\n"),
		&endless{text: rows},
	)
	r, err := csvlist.NewReader(input, "people.csv")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(rows) / 2))
	b.ReportAllocs()
	for b.Loop() {
		m, err := r.Next()
		if err != nil || m.Address.Key() == "" {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

var exampleDomain = regexp.MustCompile(`(^|\.)example\.(com|org|net)$|\.example$`)

// The demo's figures: 2,000 recipients, one of them opted out; two rows that repeat an address and
// one that is no address come on top.
func TestTheExampleListHas2000RecipientsAndItsFaults(t *testing.T) {
	t.Parallel()
	r, err := open(t, filepath.Join("..", "..", "..", "examples", "recipients.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var rejects []member.Reject
	r.OnReject = func(j member.Reject) { rejects = append(rejects, j) }
	rows, seen, differing := 0, map[string]string{}, 0
	for {
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rows++
		if first, ok := seen[m.Address.Key()]; ok && first != m.Address.String() {
			differing++
		}
		seen[m.Address.Key()] = m.Address.String()
		if !exampleDomain.MatchString(m.Address.Domain()) {
			t.Errorf("line %d: the address is not of an example domain", m.Position)
		}
	}
	if want := (member.Reject{Position: 1003, Reason: "the address has no @"}); len(rejects) == 1 &&
		rejects[0] != want {
		t.Errorf("rejected %+v, want %+v", rejects[0], want)
	}
	if rows != 2002 || len(seen) != 2000 || differing != 2 || len(rejects) != 1 {
		t.Errorf("%d rows, %d addresses, %d repeated in other letters, rejects %v", rows, len(seen), differing, rejects)
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "optouts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	optedOut := 0
	for line := range strings.Lines(string(data)) {
		if _, ok := seen[strings.TrimSpace(line)]; ok {
			optedOut++
		}
	}
	if optedOut != 1 {
		t.Errorf("%d of the list have opted out, want 1", optedOut)
	}
}
