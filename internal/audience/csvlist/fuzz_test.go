package csvlist_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/charset"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/field"
	"directmailer/internal/audience/member"
)

// plainRows reads a file as RFC 4180 has it, in the plainest way, and returns its records that are
// not blank, each with the line that it begins in. ok is false when its quotes are wrong.
func plainRows(text string, comma byte) (rows [][]string, lines []int64, ok bool) {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	blanks := strings.ReplaceAll(" \t", string(comma), "")
	line := int64(1)
	for text != "" {
		first, fields := line, []string{}
		for more := true; more; {
			var field string
			if rest := strings.TrimLeft(text, blanks); strings.HasPrefix(rest, `"`) {
				end := 1 // of the field's text with its quotation marks
				for end < len(rest) && (rest[end] != '"' || strings.HasPrefix(rest[end:], `""`)) {
					if rest[end] == '"' {
						end++
					}
					end++
				}
				if end >= len(rest) {
					return nil, nil, false
				}
				field = strings.ReplaceAll(rest[1:end], `""`, `"`)
				line += int64(strings.Count(field, "\n"))
				text = strings.TrimLeft(rest[end+1:], blanks)
				if text != "" && text[0] != comma && text[0] != '\n' {
					return nil, nil, false
				}
			} else {
				end := strings.IndexAny(text, string(comma)+"\n")
				if end < 0 {
					end = len(text)
				}
				field, text = text[:end], text[end:]
			}
			fields = append(fields, field)
			more = text != "" && text[0] == comma
			text = text[min(1, len(text)):]
		}
		line++
		if strings.TrimSpace(strings.Join(fields, "")) != "" {
			rows, lines = append(rows, fields), append(lines, first)
		}
	}
	return rows, lines, true
}

// FuzzReader: whatever the file, each row of it is a member or a reject, told by the line that it
// begins in, in the order of the file; a member has the row's address, and its fields as JSON.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		"email,name\nada@example.com,Ada\n,\nx,y,z\n", "\ufeffE-Mail;Name\r\nada@example.com;\"A;d\"\"a\n\"\r\n",
		"e\x00m\x00", "mail\tname\n\"ada\"\"@example.com\t\\\x01\n",
		"email\n\n\n ada@example.com \n\n\"\"\nbob@example.com",
		"email,a\n\"\nada@example.com\n\",\"\n\n\"\nbob@example.com,\"\r\n\"\r\n", "email,a\nada@example.com,b\"c\n",
		"email,a\nada@example.com,\"b\" c\n", "email,a\nada@example.com,\"b\nc\n", "\n\nemail\nada@example.com\n",
		"email,a\nada@example.com\nada@example.com,b,c\n", "email\nada@example.com\r",
		"email\nada@example.com\r\nbob@example.com\rx\n", "name,mail,e_mail\nx,ada@example.com,bob@example.com\n",
		"email,a\n\u00a0,\u2003\nada@example.com,\xff\n", "email\n\"a\"\"b\"\n\"\"\"a b\"\"@example.com\"\n",
		"email\n" + strings.Repeat("a", 70) + "@example.com\n", "\"email\"\r\n\"ada@example.com\"\r\n", "",
		"sep=;\nemail;a\nada@example.com;b\n",
		"email|a\rada@example.com|b\rbob@example.com|\"c\rd\"", "a;email;;\n;ada@example.com\n",
		"email,a\nada@example.com, \"b, c\" \nbob@example.com,5\" x\n", "\ufeff\ufeffemail,a,a\nada@example.com,b,c,,\n",
		"email,a\n\u201cada@example.com\u201d,\u2022bob@example.com\n\"'-ada@example.com\",x\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := csvlist.NewReader(bytes.NewReader(data), "fuzz.csv")
		if err != nil {
			checkWhole(t, err)
			return
		}
		var rejects []member.Reject
		r.OnReject = func(j member.Reject) { rejects = append(rejects, j) }
		members := map[int64]found{}
		var order []int64
		for {
			var m member.Member
			if m, err = r.Next(); err != nil {
				break
			}
			var fields map[string]string
			if err := json.Unmarshal(m.Attributes, &fields); err != nil || !utf8.Valid(m.Attributes) ||
				len(m.Attributes) > 64<<10 {
				t.Fatalf("line %d: %q: %v", m.Position, m.Attributes, err)
			}
			if again, err := address.Parse(m.Address.String()); err != nil || again != m.Address {
				t.Fatalf("line %d: the address %q is read as %q, %v", m.Position, m.Address, again, err)
			}
			if names := slices.Sorted(slices.Values(r.Columns())); len(fields) != len(names) {
				t.Fatalf("line %d: %q, want the fields %v", m.Position, m.Attributes, names)
			}
			members[m.Position] = found{m.Address, fields}
			order = append(order, m.Position)
		}
		for _, j := range rejects {
			if j.Reason == "" || !utf8.ValidString(j.Reason) ||
				strings.ContainsAny(j.Reason, "\r\n@") && !strings.Contains(j.Reason, "the @") &&
					!strings.Contains(j.Reason, "no @") {
				t.Errorf("line %d is rejected because it %q", j.Position, j.Reason)
			}
		}
		if !slices.IsSorted(order) || len(members) != len(order) || r.Rejected() != int64(len(rejects)) {
			t.Fatalf("members of lines %v, %d rejects counted of %d", order, r.Rejected(), len(rejects))
		}
		if err != io.EOF {
			checkWhole(t, err)
			return
		}

		checkRows(t, r, data, members, rejects)
	})
}

// checkRows compares what became of the rows with a plain reading of the file.
func checkRows(
	t *testing.T, r *csvlist.Reader, data []byte, members map[int64]found, rejects []member.Reject,
) {
	t.Helper()
	if encoding, _ := charset.Start(data); encoding != "" && encoding != charset.UTF8 {
		return
	}
	text, before := strings.TrimLeft(string(data), "\ufeff"), int64(0)
	mapping := r.Mapping()
	if regexp.MustCompile(`(?i)^[\r\n]*"?sep=`).MatchString(text) {
		return // the first line is another matter
	}
	var rows [][]string
	var lines []int64
	for _, c := range []byte(",;\t|") { // the header has been taken: by the one that divides it into those columns
		all, at, ok := plainRows(text, c)
		if ok && len(all) > 0 && slices.EqualFunc(all[0], mapping, func(cell string, m member.Column) bool {
			return cell == m.Header
		}) {
			rows, lines = all[1:], at[1:]
			before = at[0]
			break
		}
	}
	if before == 0 {
		t.Fatalf("was taken, and is not well formed: %q", data)
	}
	if len(rows) != len(members)+len(rejects) {
		t.Fatalf("%d rows, %d members, %d rejects: %q", len(rows), len(members), len(rejects), data)
	}
	for i, row := range rows {
		m, isMember := members[lines[i]]
		isReject := slices.ContainsFunc(rejects, func(j member.Reject) bool { return j.Position == lines[i] })
		if isMember == isReject {
			t.Fatalf("line %d: member %v, reject %v", lines[i], isMember, isReject)
		}
		if !isMember {
			continue
		}
		for n, cell := range row {
			if n >= len(mapping) && strings.TrimSpace(cell) != "" {
				t.Fatalf("line %d: %q has a cell too many", lines[i], row)
			}
		}
		for n, column := range mapping {
			cell := ""
			if n < len(row) {
				cell = row[n]
			}
			switch {
			case column.Address:
				if a, _, err := address.ReadPasted(cell); err != nil || a != m.address {
					t.Fatalf("line %d: %q became %v", lines[i], row, m)
				}
			case column.Field != "" && m.fields[column.Field] != field.Trim(cell):
				t.Fatalf("line %d: %q became %v", lines[i], row, m)
			}
		}
	}
}

type found struct {
	address address.Address
	fields  map[string]string
}

func checkWhole(t *testing.T, err error) {
	t.Helper()
	var whole *csvlist.Error
	if !errors.As(err, &whole) ||
		!strings.HasPrefix(err.Error(), "fuzz.csv: ") &&
			!strings.HasPrefix(err.Error(), fmt.Sprintf("fuzz.csv:%d: ", whole.Line)) ||
		strings.ContainsAny(err.Error(), "\r\n") {
		t.Fatalf("got %q", err)
	}
}

// FuzzEndless: a file without end is read row by row, or refused; at no time is more than one row
// of it held.
func FuzzEndless(f *testing.F) {
	f.Add("email,name\n", "ada@example.com,Ada\n")
	f.Add("email,name\nada@example.com,\"Ada\n", "eve@example.com,Eve\n")
	f.Add("email", ",x")
	f.Add("email\n", "\n")
	f.Add("email\n", "\"")
	f.Add("email,a\n", "\"\"\n\",")
	f.Add("", "\r\n")
	f.Fuzz(func(t *testing.T, start, repeated string) {
		if repeated == "" || len(start)+len(repeated) > 1000 {
			return
		}
		const most, atOnce = 3 << 20, 1<<20 + 3*64<<10 // a row and three buffers
		r, err := csvlist.NewReader(
			io.LimitReader(io.MultiReader(strings.NewReader(start), &endless{text: repeated}), most),
			"fuzz.csv",
		)
		if err != nil {
			checkWhole(t, err)
			return
		}
		var before int64
		step := func(member.Reject) {
			n := r.BytesRead()
			if n-before > atOnce && strings.Trim(repeated, "\r\n \t,;|") != "" {
				t.Fatalf("%d octets were read for one row", n-before)
			}
			before = n
		}
		r.OnReject = step
		for err == nil {
			_, err = r.Next()
			step(member.Reject{})
		}
		if err != io.EOF {
			checkWhole(t, err)
		}
	})
}
