// Package dkim signs messages with DKIM: RFC 6376, with the algorithms of RFC 8301 (RSA with
// SHA-256) and RFC 8463 (Ed25519). It reads DM_DKIM and the keys that it names, makes new keys, and
// writes the DNS records of keys.
//
// A signature is a function of the message, the keys and the time alone, so a message that is
// rendered again has the same octets. Header and body are signed in the relaxed form and as a
// whole (no l=). A signature does not expire (no x=).
//
// Nothing here shows a private key: no error, and no way to print a value. Errors do not quote the
// name of a key's file either, because somebody may have put the key itself in its place.
package dkim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Signer signs with the keys of one domain. It is safe for concurrent use. Each goroutine needs a
// [Signing] of its own.
type Signer struct{ keys []*Key }

// Keys returns the keys, in the order of DM_DKIM.
func (s *Signer) Keys() []*Key { return slices.Clone(s.keys) }

// Names returns the names of the keys: selector and domain, as a receiver looks them up. A nil
// Signer has none.
func (s *Signer) Names() []string {
	if s == nil {
		return nil
	}
	names := make([]string, len(s.keys))
	for i, key := range s.keys {
		names[i] = key.Name()
	}
	return names
}

// Keys are the keys of all domains. The zero value has none. It is safe for concurrent use.
type Keys struct{ signers map[string]*Signer }

// For returns the signer for messages whose From has the domain, or nil if no key suits: the keys
// of the domain itself, else those of its nearest parent with keys. See [Entries.For].
func (k Keys) For(domain string) *Signer {
	for domain := range candidates(domain) {
		if s := k.signers[domain]; s != nil {
			return s
		}
	}
	return nil
}

// Names returns the names of all keys, sorted.
func (k Keys) Names() []string {
	names := []string{}
	for _, s := range k.signers {
		names = append(names, s.Names()...)
	}
	slices.Sort(names)
	return names
}

// Names returns the names of the entries' records.
func (e Entries) Names() []string {
	names := make([]string, len(e))
	for i, each := range e {
		names[i] = each.String()
	}
	return names
}

// For returns the entries that sign messages whose From has the domain: those of the domain itself,
// else those of its nearest parent with entries. The search ends at the domain that is registered
// (example.co.uk), so a signature is always aligned with From as DMARC means it, relaxed.
func (e Entries) For(domain string) Entries {
	for domain := range candidates(domain) {
		var found Entries
		for _, each := range e {
			if each.Domain == domain {
				found = append(found, each)
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// candidates yields the domain and its parents up to the registered one.
func candidates(domain string) func(func(string) bool) {
	return func(yield func(string) bool) {
		registered, err := publicsuffix.EffectiveTLDPlusOne(domain)
		for yield(domain) && err == nil && domain != registered {
			_, domain, _ = strings.Cut(domain, ".")
		}
	}
}

// Load reads the keys of the entries. It reports every problem at once, and warns of files that
// more people can read than need to.
func (e Entries) Load() (keys Keys, warnings []string, err error) {
	keys.signers = map[string]*Signer{}
	var problems []error
	for _, each := range e {
		key, warning, err := each.load()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", each, err))
			continue
		}
		if warning != "" {
			warnings = append(warnings, each.String()+": "+warning)
		}
		s := keys.signers[each.Domain]
		if s == nil {
			s = &Signer{}
			keys.signers[each.Domain] = s
		}
		s.keys = append(s.keys, key)
	}
	return keys, warnings, errors.Join(problems...)
}
