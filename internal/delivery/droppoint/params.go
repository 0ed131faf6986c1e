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

// params reads the parameters of a URL one by one. Those that nobody reads are unknown.
type params struct {
	values url.Values
	err    error
}

// newParams parses the query of a URL. It refuses a parameter that is empty or given twice.
func newParams(query string) (*params, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the parameters of its URL cannot be read")
	}
	for name, given := range values {
		if len(given) > 1 || given[0] == "" {
			return nil, fmt.Errorf("%s must be given once, with a value", strconv.Quote(name))
		}
	}
	return &params{values: values}, nil
}

// take returns the value of a parameter, or "".
func (p *params) take(name string) string {
	v := p.values.Get(name)
	delete(p.values, name)
	return v
}

// number stores the value of a parameter in *to, if it is given.
func (p *params) number(name string, to *int, least, most int) {
	v := p.take(name)
	if v == "" {
		return
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		p.err = errors.Join(p.err, fmt.Errorf("%s must be %d to %d", name, least, most))
		return
	}
	*to = n
}

func (p *params) boolean(name string) (bool, error) {
	v := p.take(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%s must be true or false", name)
	}
	return b, nil
}

// fieldName matches names of header fields that no rendered message has.
var fieldName = regexp.MustCompile(`^(?i:x-[a-z0-9-]{1,60}|[a-z0-9-]{0,40}idempotency[a-z0-9-]{0,40})$`)

func (p *params) headerField(name string) (string, error) {
	v := p.take(name)
	if v != "" && !fieldName.MatchString(v) {
		return "", fmt.Errorf("%s must be a header field name that begins with X- or contains Idempotency", name)
	}
	return v, nil
}

// close returns the problems of number, and the parameters that are unknown.
func (p *params) close() error {
	var unknown []string
	for name := range p.values {
		unknown = append(unknown, strconv.Quote(name))
	}
	slices.Sort(unknown)
	if len(unknown) > 0 {
		p.err = errors.Join(p.err, fmt.Errorf("unknown parameter %s", strings.Join(unknown, ", ")))
	}
	return p.err
}
