package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Algorithm is the kind of a key, as a DNS record names it.
type Algorithm string

// RSA is verified by every receiver. Ed25519 is verified by some, and costs a small part of the
// time.
const (
	RSA     Algorithm = "rsa"
	Ed25519 Algorithm = "ed25519"
)

// Key is a private key and the name of its DNS record.
type Key struct {
	Domain, Selector string
	Algorithm        Algorithm
	Bits             int    // of an RSA key
	Public           []byte // the public key, as the DNS record has it before it is encoded

	// sign holds the private key. Whatever prints a Key shows only that there is a function.
	sign func(digest []byte) ([]byte, error)
}

// Name returns where receivers look the public key up: selector._domainkey.domain.
func (k *Key) Name() string { return Entry{Domain: k.Domain, Selector: k.Selector}.String() }

// String describes the key.
func (k *Key) String() string { return fmt.Sprintf("%s (%s-sha256)", k.Name(), k.Algorithm) }

// The bounds of RSA keys in bits. RFC 8301, 3.2: verifiers may ignore larger keys, and keys below
// 2048 bits should not be used.
const minBits, maxBits = 2048, 4096

// ParseKey reads a private key in PEM format, PKCS#1 or PKCS#8. Its errors continue the name of the
// key and say what to do. They hold nothing of the text.
func ParseKey(text []byte) (*Key, error) {
	der, kind, err := findKey(text)
	if err != nil {
		return nil, err
	}
	var private any
	if kind == "RSA PRIVATE KEY" {
		private, err = x509.ParsePKCS1PrivateKey(der)
	} else {
		private, err = x509.ParsePKCS8PrivateKey(der)
	}
	if err != nil { // its text can hold pieces of the key
		return nil, errors.New("its file holds a damaged private key, or one of an unknown kind: " +
			"make a new one with `starter dkim new`")
	}
	key, err := newKey(private)
	if err == nil {
		err = key.try()
	}
	return key, err
}

// findKey returns the one private key of a file.
func findKey(text []byte) (der []byte, kind string, err error) {
	const advice = "; it must hold a private key in PEM format, as `starter dkim new` writes it"
	found := errors.New("its file holds no PEM block" + advice)
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "RSA PRIVATE KEY", "PRIVATE KEY":
			if _, encrypted := block.Headers["DEK-Info"]; encrypted {
				return nil, "", errEncrypted
			}
			if der != nil {
				return nil, "", errors.New("its file holds two private keys: give each key a file and an entry of its own")
			}
			der, kind = block.Bytes, block.Type
		case "ENCRYPTED PRIVATE KEY":
			return nil, "", errEncrypted
		case "EC PRIVATE KEY":
			found = errKind
		case "OPENSSH PRIVATE KEY":
			found = errors.New("its file holds a key of OpenSSH's own format: make a key with `starter dkim new`")
		case "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE":
			found = errors.New("its file holds a public key or a certificate: name the file of the private key")
		}
	}
	if der != nil {
		found = nil
	}
	return der, kind, found
}

var (
	errEncrypted = errors.New("its file is encrypted with a password, which a worker does not have: " +
		"write the key without one, with `openssl pkey -in FILE -out NEW-FILE`")
	errKind = errors.New("its key is neither RSA nor Ed25519, and DKIM knows no other kind: " +
		"make a key with `starter dkim new`")
)

func newKey(private any) (*Key, error) {
	switch private := private.(type) {
	case *rsa.PrivateKey:
		return newRSA(private)
	case ed25519.PrivateKey:
		return newEd25519(private), nil
	}
	return nil, errKind
}

func newRSA(private *rsa.PrivateKey) (*Key, error) {
	bits := private.N.BitLen()
	if bits < minBits || bits > maxBits {
		return nil, fmt.Errorf("its RSA key has %d bits: use 2048 to 4096, with `starter dkim new`: "+
			"receivers ignore smaller keys as unsafe, and need not accept larger ones", bits)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, errors.New("its RSA key has a public part that cannot be written")
	}
	return &Key{Algorithm: RSA, Bits: bits, Public: public, sign: func(digest []byte) ([]byte, error) {
		return rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest)
	}}, nil
}

func newEd25519(private ed25519.PrivateKey) *Key {
	return &Key{
		Algorithm: Ed25519, Public: private.Public().(ed25519.PublicKey),
		sign: func(digest []byte) ([]byte, error) { return ed25519.Sign(private, digest), nil },
	}
}

// try signs once and verifies that the public key fits the private key.
func (k *Key) try() error {
	digest := sha256.Sum256([]byte("try"))
	signature, err := k.sign(digest[:])
	if err != nil || !k.verifies(digest[:], signature) {
		return errors.New("its private and its public part are not of one pair: make a new key with `starter dkim new`")
	}
	return nil
}

func (k *Key) verifies(digest, signature []byte) bool {
	if k.Algorithm == Ed25519 {
		return ed25519.Verify(k.Public, digest, signature)
	}
	public, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return false
	}
	rsaKey, ok := public.(*rsa.PublicKey)
	return ok && rsa.VerifyPKCS1v15(rsaKey, crypto.SHA256, digest, signature) == nil
}

// Generate makes a new key and returns it in PEM format, PKCS#8. An RSA key has 2048 bits.
func Generate(algorithm Algorithm) (text []byte, err error) {
	var private any
	switch algorithm {
	case RSA:
		private, err = rsa.GenerateKey(rand.Reader, minBits)
	case Ed25519:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("there is no algorithm of that name: use %s or %s", RSA, Ed25519)
	}
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("make a key: it cannot be encoded")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
