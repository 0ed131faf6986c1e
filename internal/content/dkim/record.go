package dkim

import (
	"encoding/base64"
	"strings"
)

// Record is the DNS record of a key. Its type is TXT.
type Record struct {
	Name  string // without the dot at the end
	Value string
}

// Record returns the record that lets receivers verify the key's signatures.
func (k *Key) Record() Record {
	return Record{
		Name:  k.Name(),
		Value: "v=DKIM1; k=" + string(k.Algorithm) + "; p=" + base64.StdEncoding.EncodeToString(k.Public),
	}
}

// maxString is how many octets a string of a TXT record has at most.
const maxString = 255

// Strings returns the value in the strings that a TXT record consists of. Receivers join them.
func (r Record) Strings() []string {
	var all []string
	rest := r.Value
	for len(rest) > maxString {
		all = append(all, rest[:maxString])
		rest = rest[maxString:]
	}
	return append(all, rest)
}

// ZoneLine returns the record as a line of a zone file.
func (r Record) ZoneLine() string {
	return r.Name + `. IN TXT "` + strings.Join(r.Strings(), `" "`) + `"`
}
