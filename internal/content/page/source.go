package page

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"directmailer/internal/content/render"
)

// The fields that a problem of a [Source] names, as in a mailing's input, besides [render.FieldPageURL].
const (
	FieldColumn = "content.page_column"
	FieldHosts  = "content.page_hosts"
)

// maxURL is how long a URL may be, in octets.
const maxURL = 8 << 10

// Source says where the pages of a mailing are. It may be used by several goroutines, each with a [Locator] of its own.
type Source struct {
	template *render.URLTemplate // nil: none
	column   string              // empty: none
	hosts    []host
	ownHost  bool // the only host is that of the template: none are named beside it
}

// NewSource compiles a mailing's template of URLs, the column that goes before it, and the hosts that pages may be on ("www.example.com",
// or "www.example.com:8080" for another port than those of http and https). It returns every problem, and no Source then.
func NewSource(template, column string, hosts []string) (*Source, []render.Problem) {
	s := &Source{column: column}
	var problems []render.Problem
	for i, text := range hosts {
		h, err := parseHost(text)
		if err != nil {
			problems = append(problems, render.Problem{Field: fmt.Sprintf("%s[%d]", FieldHosts, i), Message: err.Error()})
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
		switch {
		case err != nil:
			problems = append(problems, render.Problem{Field: render.FieldPageURL, Line: 1, Column: 1, Message: "its host " + err.Error()})
		case len(hosts) == 0:
			s.hosts, s.ownHost = []host{h}, true
		case len(problems) == 0 && !s.allows(&base):
			problems = append(problems, render.Problem{Field: render.FieldPageURL, Line: 1, Column: 1, Message: "its host is not one of page_hosts"})
		}
		s.template = compiled
	}
	if len(s.hosts) == 0 && len(problems) == 0 {
		problems = append(problems, render.Problem{Field: FieldHosts, Message: "are needed: without them no page may be fetched"})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return s, nil
}

// host is what pages are asked of: a name in ASCII and lower case, or an address of RFC 3986's form, and a port, which is empty for those
// that http and https have by themselves.
type host struct{ name, port string }

// parseHost reads "name" or "name:port".
func parseHost(text string) (host, error) {
	if strings.ContainsAny(text, "/?#@") || text == "" {
		return host{}, fmt.Errorf("must be a host such as www.example.com or www.example.com:8080")
	}
	u, err := url.Parse("http://" + text)
	if err != nil || u.Host != text {
		return host{}, fmt.Errorf("must be a host such as www.example.com or www.example.com:8080")
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
			return host{}, fmt.Errorf("has no usable port")
		}
	}
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	return host{name, port}, nil
}

// hostName gives each host one name: that of the DNS, or the shortest form of an address.
func hostName(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return a.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if !plainName.MatchString(name) { // those within a network may have what the DNS has not, such as _
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil || !plainName.MatchString(name) {
			return "", fmt.Errorf("is no name of a host")
		}
	}
	if len(name) > 253 {
		return "", fmt.Errorf("is no name of a host")
	}
	return name, nil
}

var plainName = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

// allows tells whether a page may be fetched from u.
func (s *Source) allows(u *url.URL) bool {
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

// Locator finds the pages of recipients, one after the other.
type Locator struct {
	s        *Source
	template *render.URLRenderer
}

// NewLocator returns a Locator for one goroutine.
func (s *Source) NewLocator() *Locator {
	l := &Locator{s: s}
	if s.template != nil {
		l.template = s.template.NewRenderer()
	}
	return l
}

// Locate returns where a recipient's page is. An error is a [*Failure] or a [*render.Problem] of this one recipient, without data of his.
func (l *Locator) Locate(to render.Recipient) (*url.URL, error) {
	if l.s.column != "" {
		text, known := to.Attributes[l.s.column]
		if l.s.column == "email" {
			text, known = to.Address, true
		}
		if !known {
			return nil, &Failure{FieldColumn, fmt.Sprintf("no field %q", l.s.column)}
		}
		if text = strings.TrimSpace(text); text != "" {
			return l.s.parse(FieldColumn, text)
		}
		if l.template == nil {
			return nil, &Failure{FieldColumn, fmt.Sprintf("the field %q is empty, and there is no page_url", l.s.column)}
		}
	}
	text, err := l.template.Render(to)
	if err != nil {
		return nil, err
	}
	return l.s.parse(render.FieldPageURL, text)
}

// parse reads a URL and checks it.
func (s *Source) parse(field, text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, &Failure{field, fmt.Sprintf("is a URL of more than %d octets", maxURL)}
	}
	u, err := url.Parse(text)
	if err != nil { // url.Error quotes the URL
		return nil, &Failure{field, "is no URL"}
	}
	if err := s.check(u); err != "" {
		return nil, &Failure{field, err}
	}
	return u, nil
}

// check says what forbids to ask for u, and makes it what goes over the wire. The words name no more than the scheme.
func (s *Source) check(u *url.URL) string {
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

// escapeRest escapes what cannot stand in a request's first line: net/http sends a query as it is, and a blank would end it.
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
