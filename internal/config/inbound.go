package config

import (
	"errors"
	"fmt"

	"directmailer/internal/audience/address"
)

// BounceDomain is the domain whose mail comes back to us, in A-labels and lower case.
type BounceDomain string

// UnmarshalText reads a domain.
func (b *BounceDomain) UnmarshalText(text []byte) error {
	*b = ""
	if len(text) == 0 {
		return nil
	}
	domain, err := address.ParseDomain(string(text))
	if err != nil {
		return errors.Join(errors.New("it is not a domain such as bounce.example.com"))
	}
	*b = BounceDomain(domain)
	return nil
}

// checkInbound returns the problems of the variables that belong together.
func (w Worker) checkInbound() error {
	return errors.Join(
		needKeys(w.TokenKeys, "DM_BOUNCE_DOMAIN", w.BounceDomain != ""),
		needKeys(w.TokenKeys, "DM_INBOUND_ADDRESS", w.InboundAddress.IsSet()),
		needKeys(w.TokenKeys, "DM_INBOUND_MAILBOX", w.InboundMailbox.IsSet()))
}

// needKeys returns the error of a variable that is set without token keys.
func needKeys(keys TokenKeys, name string, set bool) error {
	if !set || len(keys) > 0 {
		return nil
	}
	return fmt.Errorf("%s is set without DM_TOKEN_KEYS: set DM_TOKEN_KEYS to the same keys on every worker, "+
		"for example to the output of `openssl rand -hex 32`", name)
}
