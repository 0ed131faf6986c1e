package output

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// ErrNotAFile says that the name of an output belongs to something that is no regular file.
var ErrNotAFile = errors.New("is not a regular file: choose another name, or - for the standard output")

// ToFile lets write fill a new file. The file gets its name when it is complete, so a reader never
// sees half of it. Only its owner may read it, because it is about people. A file of that name is
// replaced. Anything else of that name, also a link, is ErrNotAFile.
//
// The error is an *os.PathError or *os.LinkError for a file that cannot be written.
func ToFile(name string, write func(io.Writer) error) error {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return &os.PathError{Op: "write", Path: name, Err: ErrNotAFile}
	}
	// The name beside it is new and cannot be guessed, so nobody can have made it before.
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			path.Path = name
		}
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// ToNewFile lets write fill a file that is not there yet, and that only its owner may read. If the
// name is taken, also by a link, the error is fs.ErrExist. If write fails, the file is removed.
func ToNewFile(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(name)
	}
	return err
}
