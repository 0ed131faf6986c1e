package page

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"directmailer/internal/content/render"
)

func TestOnlyHostsThatTheMailingAllowsAreAsked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		template, hosts, ask string
		want                 bool
	}{
		{"https://www.example.com/{{.n}}", "", "https://www.example.com/x", true},
		{"https://www.example.com/{{.n}}", "", "http://www.example.com/", true}, // and back: both ports are the scheme's own
		{"https://www.example.com/{{.n}}", "", "https://www.example.com:443/", true},
		{"https://www.example.com/{{.n}}", "", "https://WWW.Example.COM./", true},
		{"https://www.example.com/{{.n}}", "", "https://www.example.com:8443/", false},
		{"https://www.example.com/{{.n}}", "", "http://www.example.com:443/", false},
		{"https://www.example.com/{{.n}}", "", "https://example.com/", false},
		{"https://www.example.com/{{.n}}", "", "https://a.www.example.com/", false},
		{"https://www.example.com/{{.n}}", "", "https://www.example.com.evil.example/", false},
		{"https://www.example.com/{{.n}}", "", "https://evil.example/www.example.com", false},
		{"https://www.example.com/{{.n}}", "", "https://evil.example\\@www.example.com/", false},
		{"https://www.example.com/{{.n}}", "", "https://www.example.com@evil.example/", false},
		{"https://www.example.com/{{.n}}", "", "https://x:y@www.example.com/", false},
		{"https://www.example.com/{{.n}}", "", "ftp://www.example.com/", false},
		{"https://www.example.com/{{.n}}", "", "//www.example.com/", false},
		{"https://www.example.com/{{.n}}", "", "/x", false},
		{"https://www.example.com/{{.n}}", "", "https:www.example.com", false},
		{"https://www.example.com/{{.n}}", "", "https:///x", false},
		{"https://www.example.com/{{.n}}", "", "https://www.example.com/a\nb", false},
		{"https://www.example.com/{{.n}}", "", "https://www.example.com/" + strings.Repeat("x", 9000), false},
		{"http://www.example.com:8080/", "", "https://www.example.com:8080/", true},
		{"http://www.example.com:8080/", "", "http://www.example.com/", false},
		{"http://bücher.example/", "", "http://xn--bcher-kva.example/", true},
		{"http://xn--bcher-kva.example/", "", "http://BÜCHER.example/", true},
		{"http://page_server:8080/", "", "http://page_server:8080/", true},
		{"http://127.0.0.1:81/", "", "http://127.0.0.1:81/", true},
		{"http://127.0.0.1/", "", "http://127.1/", false},
		{"http://127.0.0.1/", "", "http://2130706433/", false},
		{"http://[::1]:81/", "", "http://[0:0::1]:81/", true},
		{"http://[::1]:81/", "", "http://[::1%25lo]:81/", false},
		{"", "a.example b.example:81", "http://a.example/", true},
		{"", "a.example b.example:81", "http://b.example:81/", true},
		{"", "a.example b.example:81", "http://b.example/", false},
		{"", "a.example:80", "http://a.example/", true},
	} {
		s, problems := NewLocations(c.template, "page", strings.Fields(c.hosts))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		u, err := s.NewLocator(t.Context()).Locate(anna("page", c.ask))
		if (err == nil) != c.want {
			t.Errorf("%s%s, asked for %s: %v, %v", c.template, c.hosts, c.ask, u, err)
		}
		var failure *Failure
		if err != nil &&
			(!errors.As(err, &failure) || failure.Field != fieldColumn || strings.Contains(err.Error(), "evil")) {
			t.Errorf("%s: got %v", c.ask, err)
		}
	}
}

func TestAColumnGoesBeforeTheTemplateWhereItSaysSomething(t *testing.T) {
	t.Parallel()
	s, problems := NewLocations("https://www.example.com/{{.n}}", "page", nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct{ page, want string }{
		{"", "https://www.example.com/7"},
		{"  ", "https://www.example.com/7"},
		{" https://www.example.com/own#top ", "https://www.example.com/own"},
		{"https://www.example.com/a b?c d\"<ü>&e=%20#f", "https://www.example.com/a%20b?c%20d%22%3C%C3%BC%3E&e=%20"},
	} {
		if u, err := s.NewLocator(t.Context()).Locate(anna("page", c.page, "n", "7")); err != nil || u.String() != c.want {
			t.Errorf("%q: got %v, %v; want %s", c.page, u, err, c.want)
		}
	}
	if _, err := s.NewLocator(t.Context()).Locate(anna("n", "7")); err == nil ||
		err.Error() != `content.page_column: no field "page"` {
		t.Errorf("got %v", err)
	}
	alone, _ := NewLocations("", "page", []string{"www.example.com"})
	if _, err := alone.NewLocator(t.Context()).Locate(anna("page", "")); err == nil ||
		err.Error() != `content.page_column: the field "page" is empty, and there is no page_url` {
		t.Errorf("got %v", err)
	}
	// A test goes to somebody else, with the fields of a member.
	byEmail, problems := NewLocations("", "email", []string{"www.example.com"})
	to := anna()
	if to.Email = "https://www.example.com/member"; len(problems) > 0 {
		t.Fatal(problems)
	}
	if u, err := byEmail.NewLocator(t.Context()).Locate(to); err != nil || u.String() != to.Email {
		t.Errorf("by the field email: %v, %v", u, err)
	}
	var problem *render.Problem
	if _, err := s.NewLocator(t.Context()).Locate(anna("page", "")); !errors.As(err, &problem) ||
		problem.Field != render.FieldPageURL {
		t.Errorf("got %v", err)
	}
}

func TestTheProblemsOfASourceNameTheirFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ template, hosts, want string }{
		{"https://www.example.com/{{.n", "", "content.page_url line 1, column 25: unclosed action"},
		{"https://www.example.com:99999/", "", "content.page_url line 1, column 1: its host has no usable port"},
		{"https://a_b..example/", "", "content.page_url line 1, column 1: its host is not a valid host name"},
		{"https://www.example.com/", "www.example.org",
			"content.page_url line 1, column 1: its host is not one of page_hosts"},
		{"https://www.example.com/", "www.example.com https://x.example a/b u@c x:y a.example:0",
			"content.page_hosts[1]: must be a host; content.page_hosts[2]: must be a host; content.page_hosts[3]: " +
				"must be a host; content.page_hosts[4]: must be a host; content.page_hosts[5]: has no usable port"},
		{"", "", "content.page_hosts: are needed"},
	} {
		s, problems := NewLocations(c.template, "", strings.Fields(c.hosts))
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimSuffix(p.Error(), " such as www.example.com or www.example.com:8080"))
		}
		if text := strings.Join(got, "; "); s != nil || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s %s: got %s", c.template, c.hosts, text)
		}
	}
}

// FuzzColumn: whatever a list says, only the allowed host is asked, and what goes over the wire is
// one line without blanks.
func FuzzColumn(f *testing.F) {
	for _, s := range []string{"https://www.example.com/", "http://www.example.com:80/a?b c#d", "//evil.example",
		"https://www.example.com@evil.example", "https://www.example.com\\.evil.example/", "HTTPS://WWW.EXAMPLE.COM/%zz",
		"https://www.example.com/\r\nHost: x", "http://[::1]/", "https://www.example.com/?\xff"} {
		f.Add(s)
	}
	s, problems := NewLocations("", "page", []string{"www.example.com"})
	if problems != nil {
		f.Fatal(problems)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := s.NewLocator(t.Context()).Locate(anna("page", text))
		if err != nil {
			return
		}
		if name := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")); u.User != nil ||
			u.Scheme != "http" && u.Scheme != "https" ||
			name != "www.example.com" {
			if converted, err := hostName(name); err != nil ||
				converted != "www.example.com" { // full-width letters and the like
				t.Errorf("%q asks %s", text, u)
			}
		}
		line := u.RequestURI()
		for i := range len(line) {
			if line[i] <= ' ' || line[i] >= 0x7F {
				t.Errorf("%q asks for %q", text, line)
			}
		}
		if again, err := url.Parse(u.String()); err != nil || again.Host != u.Host || again.RequestURI() != line {
			t.Errorf("%q: %s is read as %+v, %v", text, u, again, err)
		}
	})
}
