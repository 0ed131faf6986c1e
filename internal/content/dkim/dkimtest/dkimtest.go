// Package dkimtest makes keys for tests, and verifies signatures with another implementation.
package dkimtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"directmailer/internal/content/dkim"
)

// generate makes one key of each algorithm, because a new RSA key takes long.
var generate = map[dkim.Algorithm]func() ([]byte, error){
	dkim.RSA:     sync.OnceValues(func() ([]byte, error) { return dkim.Generate(dkim.RSA) }),
	dkim.Ed25519: sync.OnceValues(func() ([]byte, error) { return dkim.Generate(dkim.Ed25519) }),
}

// Entries writes a key of each algorithm for the domain, and returns the entries that name them.
// Each selector is the algorithm's name.
func Entries(t testing.TB, domain string, algorithms ...dkim.Algorithm) dkim.Entries {
	t.Helper()
	dir := t.TempDir()
	var text strings.Builder
	for _, algorithm := range algorithms {
		key, err := generate[algorithm]()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, string(algorithm)+".pem")
		if err := os.WriteFile(file, key, 0o600); err != nil {
			t.Fatal(err)
		}
		text.WriteString(dkim.Entry{Domain: domain, Selector: string(algorithm), File: file}.Text() + "\n")
	}
	var entries dkim.Entries
	if err := entries.UnmarshalText([]byte(text.String())); err != nil {
		t.Fatal(err)
	}
	return entries
}

// Keys returns the keys of Entries.
func Keys(t testing.TB, domain string, algorithms ...dkim.Algorithm) dkim.Keys {
	t.Helper()
	keys, warnings, err := Entries(t, domain, algorithms...).Load()
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	return keys
}

// Verify verifies all signatures of a message with go-msgauth, with the DNS records of the keys. A
// message needs a signature of each key.
func Verify(message []byte, keys []*dkim.Key) error {
	records := map[string]string{}
	for _, key := range keys {
		records[key.Record().Name] = key.Record().Value
	}
	found, err := msgauth.VerifyWithOptions(bytes.NewReader(message), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) {
			if value := records[name]; value != "" {
				return []string{value}, nil
			}
			return nil, fmt.Errorf("there is no record %s", name)
		},
	})
	if err != nil {
		return err
	}
	if len(found) != len(keys) {
		return fmt.Errorf("the message has %d signatures, not %d", len(found), len(keys))
	}
	var problems []error
	for _, each := range found {
		problems = append(problems, each.Err)
	}
	return errors.Join(problems...)
}
