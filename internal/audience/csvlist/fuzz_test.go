package csvlist_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/field"
	"directmailer/internal/audience/member"
)

// plainRows reads a file as RFC 4180 has it, in the plainest way, and returns its records that are
// not blank, each with the line that it begins in. ok is false when its quotes are wrong.
func plainRows(text string, comma byte) (rows [][]string, lines []int64, ok bool) {
	line := int64(1)
	for text != "" {
		first, fields, field := line, []string{}, strings.Builder{}
		quoted, closed, started := false, false, false
	record:
		for {
			c := byte('\n') // the end of the file ends a record
			if text != "" {
				c, text = text[0], text[1:]
			} else if quoted {
				return nil, nil, false
			}
			if c == '\r' && (text == "" || text[0] == '\n') { // the two are one; one at the very end is none
				if text == "" && quoted {
					return nil, nil, false
				}
				continue
			}
			switch {
			case quoted && c == '"':
				quoted, closed = false, true
			case quoted:
				field.WriteByte(c)
				if c == '\n' {
					line++
				}
			case c == '"' && closed: // a doubled one
				field.WriteByte('"')
				quoted, closed = true, false
			case c == '"':
				if started {
					return nil, nil, false
				}
				quoted, started = true, true
			case c == comma, c == '\n':
				fields = append(fields, field.String())
				field.Reset()
				closed, started = false, false
				if c == '\n' {
					line++
					break record
				}
			case closed:
				return nil, nil, false
			default:
				field.WriteByte(c)
				started = true
			}
		}
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
		type found struct {
			address address.Address
			fields  map[string]string
		}
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

		text := strings.TrimPrefix(string(data), "\ufeff")
		header, _, _ := strings.Cut(strings.TrimLeft(text, "\r\n"), "\n")
		comma := byte(0)
		// the header has been taken: the one that divides it into the right number of columns
		for _, c := range []byte(",;\t") {
			if rows, _, ok := plainRows(text, c); ok && len(rows) > 0 && len(rows[0]) == len(r.Columns())+1 &&
				(comma == 0 || strings.Count(header, string(c)) > strings.Count(header, string(comma))) {
				comma = c
			}
		}
		rows, lines, ok := plainRows(text, comma)
		if !ok || len(rows) == 0 {
			t.Fatalf("was taken, and is not well formed: %q", data)
		}
		rows, lines = rows[1:], lines[1:]
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
			at := slices.IndexFunc(row, func(cell string) bool {
				a, _, err := address.ReadPasted(cell)
				return err == nil && a == m.address
			})
			if at < 0 || len(row) != len(m.fields)+1 {
				t.Fatalf("line %d: %q became %v", lines[i], row, m)
			}
			want := []string{}
			for _, value := range m.fields {
				want = append(want, value)
			}
			rest := slices.Delete(slices.Clone(row), at, at+1)
			for i := range rest {
				rest[i] = field.Trim(rest[i])
			}
			if slices.Sort(rest); !slices.Equal(rest, slices.Sorted(slices.Values(want))) &&
				!repeatedAddress(row, m.address) {
				t.Fatalf("line %d: %q became %v", lines[i], row, m)
			}
		}
	})
}

// repeatedAddress tells a row in which the address stands twice, so that one cannot say from the
// row alone which of them is it.
func repeatedAddress(row []string, a address.Address) bool {
	n := 0
	for _, field := range row {
		if got, _, err := address.ReadPasted(field); err == nil && got == a {
			n++
		}
	}
	return n > 1
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
		const most, atOnce = 3 << 20, 1<<20 + 2*64<<10 // a row and two buffers
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
			if n-before > atOnce {
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
