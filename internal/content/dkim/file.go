package dkim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// maxFile is the size of the largest file that can hold a key.
const maxFile = 64 << 10

// load reads the entry's key. Its errors do not quote the name of the file.
func (e Entry) load() (key *Key, warning string, err error) {
	if key, warning, err = ReadKey(e.File); err == nil {
		key.Domain, key.Selector = e.Domain, e.Selector
	}
	return key, warning, err
}

// ReadKey reads a private key from a file, as a worker does. The key has no domain and no selector
// yet. The errors and the warning continue the name of the key, and do not quote that of the file.
func ReadKey(file string) (key *Key, warning string, err error) {
	text, warning, err := readKeyFile(file)
	if err != nil {
		return nil, "", err
	}
	key, err = ParseKey(text)
	return key, warning, err
}

// readKeyFile follows links: Kubernetes mounts a secret as a link to a file.
func readKeyFile(name string) (text []byte, warning string, err error) {
	info, err := os.Stat(name)
	if err == nil {
		switch {
		case !info.Mode().IsRegular():
			return nil, "", errors.New("its file is not a regular file: name the file of the private key")
		case info.Size() > maxFile:
			return nil, "", errors.New("its file is larger than 64 KiB: name the file of the private key")
		}
		if warning, err = checkMode(info.Mode().Perm()); err != nil {
			return nil, "", err
		}
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, "", fmt.Errorf("its file cannot be read: %w", reason(err))
	}
	return text, warning, nil
}

// reason returns the cause of an error about a file, without the name of the file.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// checkMode refuses a key that others can replace, and warns of one that every user of the machine
// can read. It does not warn of a group: Kubernetes mounts a secret with 0440 or 0640 for a worker
// that is not root. It does not refuse what everybody can read: Docker mounts secrets with 0444,
// Kubernetes by default with 0644, and both in containers that have no other users.
func checkMode(mode fs.FileMode) (warning string, err error) {
	switch {
	case runtime.GOOS == "windows": // has no such bits
	case mode&0o022 != 0:
		return "", fmt.Errorf("its file has the mode %#o, so others can replace the key: set it with chmod 600", mode)
	case mode&0o004 != 0:
		return fmt.Sprintf("its file has the mode %#o, so every user of this machine can read the key: "+
			"set it with chmod 600 (Kubernetes: defaultMode: 0400)", mode), nil
	}
	return "", nil
}
