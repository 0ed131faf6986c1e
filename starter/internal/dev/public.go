//go:build unix

package dev

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"directmailer/internal/config"
)

const (
	// PublicPort is where the unsubscribe pages of `starter dev` are, if it is free.
	PublicPort = 8234
	anyPort    = 0
)

// UsePublicPages gives messages unsubscribe links to this machine, with token keys that stay in the
// folder. The port is another one if it is taken or 0.
func (s *Stack) UsePublicPages(port int) error {
	keys := filepath.Join(s.dir, "token-keys")
	f, err := os.OpenFile(keys, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, rand.Text()+rand.Text())
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fileError(err)
	}
	if port == anyPort || !free(port) {
		if port, err = freePort(); err != nil {
			return err
		}
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s.publicAddress = config.ListenAddress(address)
	return errors.Join(
		os.Unsetenv("DM_TOKEN_KEYS"),
		s.export("DM_TOKEN_KEYS_FILE", keys),
		s.export("DM_PUBLIC_URL", "http://"+address),
		os.Setenv("DM_PUBLIC_ADDRESS", address))
}

// freePort returns a port that nobody listens at now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a port for the unsubscribe pages: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
