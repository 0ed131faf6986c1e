package output

import (
	"errors"
	"io"
	"os"
)

// ToFile lets write fill a new file. The file gets its name when it is complete, so a reader never
// sees half of it. Only its owner may read it, because it is about people.
func ToFile(name string, write func(io.Writer) error) error {
	aside := name + ".tmp"
	f, err := os.OpenFile(aside, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
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
		err = os.Rename(aside, name)
	}
	if err != nil {
		_ = os.Remove(aside)
	}
	return err
}
