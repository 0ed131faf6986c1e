// Package charset reads texts in other encodings than UTF-8. It recognizes UTF-8, UTF-16 and
// Windows-1252 (with Latin-1 in it). Every other encoding must be named.
package charset

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Names of encodings that are recognized.
const (
	UTF8        = "utf-8"
	UTF16LE     = "utf-16le"
	UTF16BE     = "utf-16be"
	Windows1252 = "windows-1252"
)

// Name returns the canonical name of an encoding. Latin-1 is read as Windows-1252, which has all of
// its characters.
func Name(label string) (string, error) {
	e, err := htmlindex.Get(label)
	if err == nil {
		label, err = htmlindex.Name(e)
	}
	if err != nil || label == "replacement" || label == "x-user-defined" {
		return "", errors.New("is not a known encoding: known are utf-8, utf-16, windows-1252, iso-8859-1, " +
			"macintosh, windows-1250, windows-1251, shift_jis, gb18030 and the other names of the WHATWG")
	}
	return label, nil
}

// Decode returns r as UTF-8. The name is one that [Name] returns.
func Decode(r io.Reader, name string) (io.Reader, error) {
	var e encoding.Encoding
	switch name {
	case UTF8:
		return r, nil
	case UTF16LE:
		e = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case UTF16BE:
		e = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	default:
		var err error
		if e, err = htmlindex.Get(name); err != nil {
			return nil, err
		}
	}
	return transform.NewReader(r, e.NewDecoder()), nil
}

// Start recognizes an encoding by the first octets of a text: by its byte order mark, or by the NUL
// octets of UTF-16. It returns "" if they do not tell, and an error if they are no text.
func Start(start []byte) (name string, err error) {
	for _, f := range formats {
		if bytes.HasPrefix(start, []byte(f.magic)) {
			return "", fmt.Errorf("is %s: save it as CSV UTF-8", f.what)
		}
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		return UTF8, nil
	case bytes.HasPrefix(start, []byte("\xff\xfe")):
		return UTF16LE, nil
	case bytes.HasPrefix(start, []byte("\xfe\xff")):
		return UTF16BE, nil
	}
	return nulls(start)
}

var formats = []struct{ magic, what string }{
	{"PK\x03\x04", "a workbook (.xlsx, .ods or .numbers) or another ZIP file"},
	{"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"},
	{"\x1f\x8b", "compressed (gzip)"},
	{"%PDF-", "a PDF"},
	{"{\\rtf", "a document (.rtf)"},
	{"\xff\xfe\x00\x00", "UTF-32"},
	{"\x00\x00\xfe\xff", "UTF-32"},
}

// nulls recognizes UTF-16 without a mark: every second octet of its ASCII characters is NUL.
func nulls(start []byte) (name string, err error) {
	var zeros [2]int
	for i, c := range start {
		if c == 0 {
			zeros[i%2]++
		}
	}
	pairs := len(start) / 2
	switch even, odd := zeros[0], zeros[1]; {
	case even+odd == 0:
		return "", nil
	case odd*5 >= pairs && even*20 <= odd:
		return UTF16LE, nil
	case even*5 >= pairs && odd*20 <= even:
		return UTF16BE, nil
	case (even+odd)*10 >= len(start):
		return "", errors.New("is not a text: save it as CSV UTF-8")
	}
	return "", nil
}
