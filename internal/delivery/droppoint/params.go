package droppoint

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// params reads the parameters of a URL one by one. Those that nobody reads are unknown. Errors
// quote only names that somebody reads: the others may be a part of a password.
type params struct {
	values url.Values
	known  []string
	err    error
}

// newParams parses the query of a URL.
func newParams(query string) (*params, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the parameters of its URL cannot be read")
	}
	return &params{values: values}, nil
}

// take returns the value of a parameter, or "". It refuses a parameter that is empty or given
// twice.
func (p *params) take(name string) string {
	given, ok := p.values[name]
	p.known = append(p.known, name)
	delete(p.values, name)
	switch {
	case !ok:
		return ""
	case len(given) > 1 || given[0] == "":
		p.fail("%s must be given once, with a value", name)
		return ""
	}
	return given[0]
}

func (p *params) fail(format string, args ...any) {
	p.err = errors.Join(p.err, fmt.Errorf(format, args...))
}

// number stores the value of a parameter in *to, if it is given.
func (p *params) number(name string, to *int, least, most int) {
	v := p.take(name)
	if v == "" {
		return
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		p.fail("%s must be %d to %d", name, least, most)
		return
	}
	*to = n
}

func (p *params) boolean(name string) bool {
	v := p.take(name)
	b, err := strconv.ParseBool(v)
	if v != "" && err != nil {
		p.fail("%s must be true or false", name)
	}
	return b
}

// fieldName matches names of header fields that no rendered message has.
var fieldName = regexp.MustCompile(`^(?i:x-[a-z0-9-]{1,60}|[a-z0-9-]{0,40}idempotency[a-z0-9-]{0,40})$`)

func (p *params) headerField(name string) string {
	v := p.take(name)
	if v != "" && !fieldName.MatchString(v) {
		p.fail("%s must be a header field name that begins with X- or contains Idempotency", name)
		return ""
	}
	return v
}

// hostName matches host names and address literals.
var hostName = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]+$`)

func (p *params) host(name string) string {
	v := p.take(name)
	if v != "" && !hostName.MatchString(v) {
		p.fail("%s must be a host name", name)
		return ""
	}
	return v
}

// close returns all problems. The names of unknown parameters are not quoted.
func (p *params) close() error {
	if len(p.values) > 0 {
		slices.Sort(p.known)
		p.fail("an unknown parameter: the parameters are %s (write ? and & of a password as %%3F and %%26)",
			strings.Join(p.known, ", "))
	}
	return p.err
}
