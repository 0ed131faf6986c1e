package page

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"directmailer/internal/content/render"
)

// The fields that a problem of [Locations] names, as in a mailing's input, besides
// [render.FieldPageURL].
const (
	fieldColumn = "content.page_column"
	fieldHosts  = "content.page_hosts"
)

// maxURL is how long a URL may be, in octets.
const maxURL = 8 << 10

// Locations says where the pages of a mailing are. It is safe for concurrent use. Each goroutine
// needs a [Locator] of its own.
type Locations struct {
	template *render.URLTemplate // nil: none
	column   string              // empty: none
	hosts    []host
	ownHost  bool // the only host is that of the template: none are named beside it
}

// NewLocations compiles a mailing's URL template, the column that overrides it, and the hosts that
// pages may be on ("www.example.com", or "www.example.com:8080" for another port than those of http
// and https). If there are problems, it returns all of them, and nil.
func NewLocations(template, column string, hosts []string) (*Locations, []render.Problem) {
	s := &Locations{column: column}
	var problems []render.Problem
	for i, text := range hosts {
		h, err := parseHost(text)
		if err != nil {
			problems = append(
				problems,
				render.Problem{Field: fmt.Sprintf("%s[%d]", fieldHosts, i), Message: err.Error()},
			)
		}
		s.hosts = append(s.hosts, h)
	}
	if template != "" {
		compiled, problem := render.CompileURL(template)
		if problem != nil {
			return nil, append(problems, *problem)
		}
		base := compiled.Base()
		h, err := hostOf(&base)
		problem = &render.Problem{Field: render.FieldPageURL, Line: 1, Column: 1}
		switch {
		case err != nil:
			problem.Message = "its host " + err.Error()
		case len(hosts) == 0:
			s.hosts, s.ownHost = []host{h}, true
		case len(problems) == 0 && !s.allows(&base):
			problem.Message = "its host is not one of page_hosts"
		}
		if problem.Message != "" {
			problems = append(problems, *problem)
		}
		s.template = compiled
	}
	if len(s.hosts) == 0 && len(problems) == 0 {
		problems = append(problems, render.Problem{
			Field: fieldHosts, Message: "are needed: without them no page may be fetched",
		})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return s, nil
}

// host is a page host: a name in lower-case ASCII or an address in the form of RFC 3986, and a
// port. The port is empty for the default port of http or https.
type host struct{ name, port string }

// parseHost reads "name" or "name:port".
func parseHost(text string) (host, error) {
	if strings.ContainsAny(text, "/?#@") || text == "" {
		return host{}, errHost
	}
	u, err := url.Parse("http://" + text)
	if err != nil || u.Host != text {
		return host{}, errHost
	}
	return hostOf(u)
}

func hostOf(u *url.URL) (host, error) {
	name, err := hostName(u.Hostname())
	if err != nil {
		return host{}, err
	}
	port := u.Port()
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return host{}, errors.New("has no usable port")
		}
	}
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	return host{name, port}, nil
}

// hostName returns the one name that a host is compared by: its DNS name, or the shortest form of
// an address.
func hostName(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return a.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if !plainName.MatchString(name) { // those within a network may have what the DNS has not, such as _
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil || !plainName.MatchString(name) {
			return "", errHostName
		}
	}
	if len(name) > 253 {
		return "", errHostName
	}
	return name, nil
}

var (
	errHost     = errors.New("must be a host such as www.example.com or www.example.com:8080")
	errHostName = errors.New("is not a valid host name")
)

var plainName = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

// allows reports whether a page may be fetched from u.
func (s *Locations) allows(u *url.URL) bool {
	h, err := hostOf(u)
	if err != nil {
		return false
	}
	for _, allowed := range s.hosts {
		if h == allowed {
			return true
		}
	}
	return false
}

// Locator finds the pages of recipients, one at a time.
type Locator struct {
	s        *Locations
	template *render.URLRenderer
}

// NewLocator returns a Locator for one goroutine and for the pages of one batch. It ends with the
// context.
func (s *Locations) NewLocator(ctx context.Context) *Locator {
	l := &Locator{s: s}
	if s.template != nil {
		l.template = s.template.NewRenderer(ctx)
	}
	return l
}

// Locate returns where a recipient's page is. An error is a [*Failure] or a [*render.Problem] of
// this one recipient. It holds no recipient data.
func (l *Locator) Locate(to render.Recipient) (*url.URL, error) {
	if l.s.column != "" {
		value, known := to.Attributes[l.s.column]
		text := value.Text
		if l.s.column == "email" {
			text, known = cmp.Or(to.Email, to.Address), true
		}
		if !known {
			return nil, &Failure{fieldColumn, fmt.Sprintf("no field %q", l.s.column)}
		}
		if text = strings.TrimSpace(text); text != "" {
			return l.s.parse(fieldColumn, text)
		}
		if l.template == nil {
			return nil, &Failure{
				fieldColumn,
				fmt.Sprintf("the field %q is empty, and there is no page_url", l.s.column),
			}
		}
	}
	text, err := l.template.Render(to)
	if err != nil {
		return nil, err
	}
	return l.s.parse(render.FieldPageURL, text)
}

// parse reads a URL and checks it.
func (s *Locations) parse(field, text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, &Failure{field, fmt.Sprintf("is a URL of more than %d octets", maxURL)}
	}
	u, err := url.Parse(text)
	if err != nil { // url.Error quotes the URL
		return nil, &Failure{field, "is not a URL"}
	}
	if err := s.check(u); err != "" {
		return nil, &Failure{field, err}
	}
	return u, nil
}

// check returns why u must not be requested, or "". It changes u to what goes over the wire. The
// text names no part of u but the scheme.
func (s *Locations) check(u *url.URL) string {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "is not a URL of http or https"
	case u.User != nil:
		return "is a URL with a user name or a password"
	case u.Opaque != "" || u.Hostname() == "":
		return "is a URL without a host"
	case !s.allows(u):
		return "is on a host that is not one of page_hosts"
	}
	u.Fragment, u.RawFragment = "", ""
	u.RawQuery = escapeRest(u.RawQuery)
	return ""
}

// escapeRest escapes the characters that must not be in a request line. net/http sends a query
// unchanged, and a blank would end it.
func escapeRest(query string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(query); i++ {
		if c := query[i]; c <= ' ' || c >= 0x7F || c == '"' || c == '<' || c == '>' {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
