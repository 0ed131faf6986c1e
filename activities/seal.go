package activities

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"directmailer/workflows"
)

// SealProgress returns the seal of what one run of a mailing hands to the next: an HMAC-SHA-256
// (RFC 2104) under a key of the database.
func (a *Activities) SealProgress(ctx context.Context, call workflows.SealCall) (string, error) {
	key, err := a.SealKey(ctx)
	if err != nil {
		return "", classify(err)
	}
	return hex.EncodeToString(seal(key, call)), nil
}

// CheckSeal reports whether a seal is that of the call.
func (a *Activities) CheckSeal(ctx context.Context, check workflows.SealCheck) (bool, error) {
	key, err := a.SealKey(ctx)
	if err != nil {
		return false, classify(err)
	}
	given, err := hex.DecodeString(check.Seal)
	return err == nil && hmac.Equal(given, seal(key, check.SealCall)), nil
}

// SealKey reads the key of seals, once.
func (a *Activities) SealKey(ctx context.Context) ([]byte, error) {
	if key := a.sealKey.Load(); key != nil {
		return *key, nil
	}
	key, err := a.mailings.SealKey(ctx)
	if err == nil {
		a.sealKey.Store(&key)
	}
	return key, err
}

// seal hashes the parts with a NUL between them, which none of them can have.
func seal(key []byte, call workflows.SealCall) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join([]string{call.Mailing, call.FirstRunID, call.RunID, call.Digest}, "\x00")))
	return mac.Sum(nil)
}
