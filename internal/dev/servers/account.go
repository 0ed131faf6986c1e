package servers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// account is the user that runs PostgreSQL if this program runs as root, because PostgreSQL refuses
// to run as root. It is nil for every other user.
type account struct {
	name     string
	uid, gid uint32
}

func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &account{name, uint32(uid), uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

func (a *account) attr() *syscall.SysProcAttr {
	if a == nil {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
}

// own makes the account the owner of a file or folder.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// canReach checks that the account may enter dir and every folder above it. dir need not exist yet.
func (a *account) canReach(dir string) error {
	if a == nil {
		return nil
	}
	// The permissions of the real path count, so links are resolved.
	real, err := filepath.EvalSymlinks(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		real, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return err
	}
	for _, d := range fromRoot(real) {
		info, err := os.Stat(d)
		if err != nil {
			return err
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if ok && !mayPass(info.Mode().Perm(), owner.Uid == a.uid, owner.Gid == a.gid) {
			return fmt.Errorf("PostgreSQL does not run as root but as user %s, who may not pass the folder %s: "+
				"choose a data folder that everybody may "+
				"reach, allow it (chmod a+x %s), or do not be root", a.name, d, d)
		}
	}
	return nil
}

// makeFolder makes a folder, and those above it. The account may enter each that is made, whatever
// the umask is.
func (a *account) makeFolder(dir string) error {
	if a == nil {
		return os.MkdirAll(dir, 0o755)
	}
	return makeOpen(dir)
}

// makeOpen makes a folder, and those above it. Everybody may enter each that is made.
func makeOpen(dir string) error {
	for _, d := range fromRoot(dir) {
		err := os.Mkdir(d, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = os.Chmod(d, 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fromRoot returns a folder and those above it, the topmost first.
func fromRoot(dir string) []string {
	list := []string{dir}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		list = append(list, dir)
	}
	slices.Reverse(list)
	return list
}

// mayPass reports whether mode lets the account enter a folder. As in the kernel, the first class
// that fits decides.
func mayPass(mode os.FileMode, owner, group bool) bool {
	switch {
	case owner:
		return mode&0o100 != 0
	case group:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}
