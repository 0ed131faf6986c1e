package dkim

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"directmailer/internal/audience/address"
)

// Entry is one entry of DM_DKIM: where a key is, and the name of its DNS record.
type Entry struct {
	Domain   string // lower-case A-labels
	Selector string // lower case
	File     string // absolute path
}

// String says which entry it is, for errors, without the name of the file.
func (e Entry) String() string { return e.Selector + "._domainkey." + e.Domain }

// GoString returns the same as String.
func (e Entry) GoString() string { return e.String() }

// Text returns the entry as DM_DKIM has it.
func (e Entry) Text() string {
	file := (&url.URL{Path: e.File}).EscapedPath()
	return e.Domain + "=" + file + "?selector=" + e.Selector
}

// Entries are those of DM_DKIM.
type Entries []Entry

const entryForm = "domain=file?selector=name, such as news.example.com=/run/secrets/dkim.pem?selector=rsa202611"

// UnmarshalText reads "domain=file?selector=name …", separated by blanks or line breaks. It reports
// every entry that is wrong, and reads no file. There may be none.
func (e *Entries) UnmarshalText(text []byte) error {
	var all Entries
	var problems []error
	seen := map[string]bool{}
	for i, entry := range strings.Fields(string(text)) {
		parsed, err := parseEntry(entry)
		if err == nil && seen[parsed.String()] {
			err = fmt.Errorf("%s is named twice: give each key of a domain a selector of its own", parsed)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("entry %d: %w", i+1, err))
			continue
		}
		seen[parsed.String()] = true
		all = append(all, parsed)
	}
	*e = all
	return errors.Join(problems...)
}

// parseEntry reads one entry. Its errors quote nothing of the entry, which can be a piece of a key.
func parseEntry(entry string) (Entry, error) {
	domain, rest, found := strings.Cut(entry, "=")
	file, query, asked := strings.Cut(rest, "?")
	switch {
	case strings.Contains(entry, "-----"):
		return Entry{}, errors.New("it holds a key itself: write the key to a file that only the worker can read, " +
			"and name the file as in " + entryForm)
	case !found || file == "":
		return Entry{}, errors.New("it is not " + entryForm +
			": entries are separated by blanks, so write a blank in a file's name as %20")
	}
	var e Entry
	var err error
	if e.Domain, err = address.ParseDomain(domain); err != nil {
		return Entry{}, errors.New("its domain is not usable: write it as in " + entryForm)
	}
	if file, err = url.PathUnescape(file); err == nil {
		e.File, err = filepath.Abs(file)
	}
	if err != nil || strings.ContainsRune(file, 0) {
		return Entry{}, errors.New("the name of its file cannot be read: write % as %25 and ? as %3F")
	}
	parameters, err := url.ParseQuery(query)
	if err != nil || !asked || len(parameters) != 1 || len(parameters["selector"]) != 1 {
		return Entry{}, errors.New("it needs one selector and no other parameter: write it as in " + entryForm)
	}
	if e.Selector, err = ParseSelector(parameters.Get("selector")); err == nil {
		err = e.Check()
	}
	return e, err
}

// Check checks that the entry's record can have its name.
func (e Entry) Check() error {
	if len(e.String()) > maxName {
		return errors.New("its domain and selector are too long for a DNS name")
	}
	return nil
}

// maxName is how many characters a DNS name can have.
const maxName = 253

// ParseSelector returns the selector in lower case, or what is wrong with it.
func ParseSelector(s string) (string, error) {
	selector := strings.ToLower(s)
	for label := range strings.SplitSeq(selector, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return "", errors.New("its selector must be letters, digits, - and dots, such as rsa202611")
		}
	}
	return selector, nil
}
