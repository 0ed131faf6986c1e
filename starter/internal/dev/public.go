//go:build unix

package dev

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"directmailer/internal/config"
	"directmailer/internal/dev/servers"
	"directmailer/starter/internal/output"
)

const (
	// PublicPort is where the unsubscribe pages of `starter dev` are, if it is free.
	PublicPort = 8234
	anyPort    = 0

	tokenKeys = "token-keys" // the name of their file in the folder
)

// UsePublicPages gives messages unsubscribe links to this machine, with token keys that stay in the
// folder. The port is another one if it is taken or 0.
func (s *Stack) UsePublicPages(port int) error {
	keys := filepath.Join(s.dir, tokenKeys)
	err := makeOnce(keys, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, rand.Text()+rand.Text())
		return err
	})
	if err != nil {
		return err
	}
	if port == anyPort || !free(port) {
		if port, err = servers.FreePort(); err != nil {
			return fmt.Errorf("find a port for the unsubscribe pages: %w", err)
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

// makeOnce writes a file that only its owner may read, unless it is there already. A crash leaves
// no part of it.
func makeOnce(file string, write func(io.Writer) error) error {
	_, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = output.ToFile(file, write)
	}
	return fileError(err)
}
