package mailingfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// readText reads a UTF-8 file of up to limit octets and removes its byte order mark. Errors do not
// name the file.
func readText(path string, limit int64) (string, error) {
	return readWith(os.Stat, os.Open, path, limit)
}

// readBelow is readText for a file in a folder or below it.
func readBelow(folder, path string, limit int64) (string, error) {
	if !filepath.IsLocal(path) {
		return "", errOutside
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", cause(err)
	}
	defer root.Close()
	return readWith(root.Stat, root.Open, path, limit)
}

var errOutside = errors.New("is not in the folder of the mailing file: put it there")

func readWith(
	stat func(string) (fs.FileInfo, error), open func(string) (*os.File, error), path string, limit int64,
) (string, error) {
	info, err := stat(path) // opening a pipe would wait for its writer
	if err != nil {
		return "", cause(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not a file")
	}
	f, err := open(path)
	if err != nil {
		return "", cause(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", cause(err)
	}
	if int64(len(data)) > limit {
		return "", fmt.Errorf("is longer than %d MiB", limit>>20)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return "", fmt.Errorf("is not UTF-8 (line %d): save it as UTF-8", invalidLine(data))
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return "", fmt.Errorf("has a NUL character (line %d): save it as UTF-8", 1+bytes.Count(data[:i], []byte("\n")))
	}
	return string(data), nil
}

// invalidLine is the line of the first octet that is not UTF-8.
func invalidLine(data []byte) int {
	line := 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		if c == utf8.RuneError && size == 1 {
			break
		}
		if c == '\n' {
			line++
		}
		data = data[size:]
	}
	return line
}

// cause is what is wrong with a file, without its name.
func cause(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("may not be read: permission denied")
	case errors.As(err, &path) && strings.Contains(path.Err.Error(), "escapes"): // os has no error of that name
		return errOutside
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// oneLine is the first line of s, without control characters.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
