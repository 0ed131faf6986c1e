package unsubscribe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// keyPair is a certificate and its key in two files. It is read again when a file has changed, at
// most once in reloadEvery. If the new files cannot be used, the old certificate stays.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	pair    *tls.Certificate
	version [2]fileVersion
	looked  time.Time
}

const reloadEvery = 10 * time.Second

type fileVersion struct {
	modified time.Time
	size     int64
}

// loadKeyPair reads the files. The error names the variables, and not what is in the files.
func loadKeyPair(certFile, keyFile string, log *slog.Logger) (*keyPair, error) {
	k := &keyPair{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	if err := k.load(); err != nil {
		return nil, fmt.Errorf("the certificate of the public listener (DM_PUBLIC_CERT, DM_PUBLIC_KEY) cannot be used: "+
			"%w", err)
	}
	return k, nil
}

// load reads the files if they have changed.
func (k *keyPair) load() error {
	version, err := k.versions()
	k.looked = k.now()
	if err != nil || k.pair != nil && version == k.version {
		return err
	}
	pair, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return withoutPath(err)
	}
	k.pair, k.version = &pair, version
	return nil
}

func (k *keyPair) versions() (all [2]fileVersion, err error) {
	for i, name := range []string{k.certFile, k.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return all, withoutPath(err)
		}
		all[i] = fileVersion{info.ModTime(), info.Size()}
	}
	return all, nil
}

func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// get returns the certificate for a handshake.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.looked) >= reloadEvery {
		before := k.pair
		if err := k.load(); err != nil {
			k.log.Warn("the new certificate of the public listener cannot be used: the old one stays",
				"error", err.Error())
		} else if k.pair != before {
			k.log.Info("the public listener has a new certificate")
		}
	}
	return k.pair, nil
}
