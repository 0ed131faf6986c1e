package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// toFile has write write a new file, which gets its name when it is complete: a reader never sees half of it. Without a name it is
// the standard output. Only the owner may read it: it is about people.
func (a *app) toFile(name string, write func(io.Writer) error) error {
	if name == "" || name == "-" {
		return write(a.Out)
	}
	aside := name + ".tmp"
	f, err := os.OpenFile(aside, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fileFailure(err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = first(err, f.Close)
	if err == nil {
		err = os.Rename(aside, name)
	}
	if err != nil {
		_ = os.Remove(aside)
		return fileFailure(err)
	}
	return nil
}

// fileFailure gives an error about a file that the user named its exit code, and says the file's name as it was given.
func fileFailure(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return failf(BadInput, "%s: %w", printable(path.Path), path.Err)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return failf(BadInput, "%s: %w", printable(link.New), link.Err)
	}
	return err
}

// base is a file's name without its folder: folders can name people.
func base(path string) string { return clean(filepath.Base(path)) }
