package csvlist_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"directmailer/internal/audience/charset"
	"directmailer/internal/audience/csvlist"
)

// FuzzInspect: what is UTF-8 is read as UTF-8, and has a fault exactly if reading it row by row has
// one. Whatever the encoding, each row is a member, a reject, or left out by its status.
func FuzzInspect(f *testing.F) {
	for _, seed := range []string{
		"email,name\nada@example.com,Zo\xeb\n", "email,status\nada@example.com,unsubscribed\nbob@example.com,active\n",
		"sep=;\nemail;a;\nada@example.com;MÃ¼\n", "email,name\nada@example.com,Zoë\nbob@example.com,\xff\n",
		"\xff\xfee\x00m\x00a\x00i\x00l\x00\n\x00", "e\x00m\x00a\x00i\x00l\x00\n\x00a\x00@\x00b\x00.\x00c\x00",
		"email,bounced\r\"a@b.example\",\"x\ry\"\r", "email,a\n1,\"b\n2,\"c\"d\n", "email,a,b\na@b.example,1\n",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "list.csv")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := csvlist.Inspect(t.Context(), path, csvlist.Options{Status: csvlist.UseStatus})
		started, bad := charset.Start(data)
		if bad == nil && utf8.Valid(data) && (started == "" || started == charset.UTF8) {
			rows, fault := streamed(data)
			if (err == nil) != (fault == nil) || err == nil && (file.Rows != rows || file.Encoding != charset.UTF8) {
				t.Fatalf("inspected: %+v, %v; row by row: %d rows, %v", file, err, rows, fault)
			}
		}
		if err != nil {
			return
		}
		defer file.Close()
		r, err := file.Members()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n := int64(0)
		for ; err == nil; n++ {
			_, err = r.Next()
		}
		left := int64(0)
		for _, l := range r.LeftOut() {
			left += l.Rows
		}
		if n--; err != io.EOF || n != r.Active() || n+r.Rejected()+left != file.Rows {
			t.Fatalf("%d members, %d rejected, %d left out of %d rows: %v", n, r.Rejected(), left, file.Rows, err)
		}
	})
}

// streamed returns the number of rows of a file that is read row by row, or its fault.
func streamed(data []byte) (rows int64, fault error) {
	r, err := csvlist.NewReader(bytes.NewReader(data), "list.csv")
	if err != nil {
		return 0, err
	}
	for {
		switch _, err := r.Next(); err {
		case nil:
			rows++
		case io.EOF:
			return rows + r.Rejected(), nil
		default:
			return 0, err
		}
	}
}
