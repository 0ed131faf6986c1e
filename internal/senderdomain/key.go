package senderdomain

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"

	"directmailer/internal/content/lint"
)

// key checks that the record of a key is there and has the key.
func (c *checker) key(k Key) {
	name := k.Selector + "._domainkey." + k.Domain
	where := "TXT " + name
	records, err := c.resolver.texts(c.ctx, name)
	if c.failed(where, err) {
		return
	}
	records = slices.DeleteFunc(records, func(r string) bool { return !strings.Contains(r, "p=") })
	switch len(records) {
	case 0:
		c.add(lint.DKIMRecordMissing, where, "there is no record of the key")
		return
	case 1:
	default:
		c.add(lint.DKIMRecordMismatch, where, "there are several records, and receivers may take either")
		return
	}
	tags := tagsOf(records[0])
	if code, message := k.compare(tags); code != "" {
		c.add(code, where, message)
	}
	if slices.Contains(listOf(tags["t"]), "y") {
		c.add(lint.DKIMRecordTesting, where, "the record says t=y")
	}
}

// compare returns what is wrong with the record of a key, or "".
func (k Key) compare(tags map[string]string) (lint.Code, string) {
	if version, ok := tags["v"]; ok && version != "DKIM1" {
		return lint.DKIMRecordMismatch, "the record begins with another version than v=DKIM1"
	}
	if tags["p"] == "" {
		return lint.DKIMRecordMismatch, "the record says that the key is revoked (p= is empty)"
	}
	if kind, ok := tags["k"]; k.Public != nil && (ok && kind != k.Algorithm || !ok && k.Algorithm != "rsa") {
		return lint.DKIMRecordMismatch, "the record is of another kind of key than " + k.Algorithm
	}
	if hashes := listOf(tags["h"]); len(hashes) > 0 && !slices.Contains(hashes, "sha256") {
		return lint.DKIMRecordMismatch, "the record does not allow sha256 (h=)"
	}
	if services := listOf(tags["s"]); len(services) > 0 && !slices.Contains(services, "*") &&
		!slices.Contains(services, "email") {
		return lint.DKIMRecordMismatch, "the record is not for email (s=)"
	}
	public, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(tags["p"]), ""))
	if err != nil {
		return lint.DKIMRecordMismatch, "the key in the record is damaged (p=)"
	}
	if k.Public != nil && !samePublic(k.Public, public) {
		return lint.DKIMRecordMismatch, "the record has another key than the one that signs"
	}
	return "", ""
}

// samePublic compares two public keys. An RSA key has two forms in records.
func samePublic(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	first, second := rsaOf(a), rsaOf(b)
	return first != nil && second != nil && first.Equal(second)
}

func rsaOf(der []byte) *rsa.PublicKey {
	if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		public, _ := key.(*rsa.PublicKey)
		return public
	}
	public, err := x509.ParsePKCS1PublicKey(der)
	if err != nil {
		return nil
	}
	return public
}

// tagsOf reads a record of tags: "v=DKIM1; p=…" (RFC 6376, 3.2).
func tagsOf(record string) map[string]string {
	tags := map[string]string{}
	for each := range strings.SplitSeq(record, ";") {
		name, value, ok := strings.Cut(each, "=")
		if name = strings.TrimSpace(name); ok && name != "" {
			tags[name] = strings.TrimSpace(value)
		}
	}
	return tags
}

// listOf reads the value of a tag that has several.
func listOf(value string) (all []string) {
	for each := range strings.SplitSeq(value, ":") {
		if each = strings.TrimSpace(each); each != "" {
			all = append(all, each)
		}
	}
	return all
}
