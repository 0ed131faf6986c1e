package render

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"directmailer/internal/audience/field"
)

func mustCompileURL(t testing.TB, text string) *URLTemplate {
	t.Helper()
	c, problem := CompileURL(text)
	if problem != nil {
		t.Fatal(problem)
	}
	return c
}

func TestValuesAreEscapedForTheirPlaceInAURL(t *testing.T) {
	t.Parallel()
	u := mustCompileURL(
		t,
		`https://www.example.com:8443/{{.city}}/offers?for={{.first_name}}&by={{.email}}`+
			`{{with .code}}&code={{.}}{{end}}#{{.city}}`,
	).NewRenderer(t.Context())
	for _, c := range []struct{ name, city, code, want string }{
		{"Anna", "Oslo", "", "https://www.example.com:8443/Oslo/offers?for=Anna&by=anna%40example.org#Oslo"},
		{"a b+c", "a/b", "x=1&y=2",
			"https://www.example.com:8443/a%2Fb/offers?for=a%20b%2Bc&by=anna%40example.org&code=x%3D1%26y%3D2#a%2Fb"},
		{"?x#y", "?q#f", "100%",
			"https://www.example.com:8443/%3Fq%23f/offers?for=%3Fx%23y&by=anna%40example.org&code=100%25#%3Fq%23f"},
		{"a\r\nHost: evil.example", "a\\b", "a\x00b",
			"https://www.example.com:8443/a%5Cb/offers?for=a%0D%0AHost%3A%20evil.example&by=anna%40example.org&code=a" +
				"%00b#a%5Cb"},
		{"Zoë", "Łódź", "~-._",
			"https://www.example.com:8443/%C5%81%C3%B3d%C5%BA/offers?for=Zo%C3%AB&by=anna%40example.org&code=~-._" +
				"#%C5%81%C3%B3d%C5%BA"},
		{"../../x", "..5", "", "https://www.example.com:8443/..5/offers?for=..%2F..%2Fx&by=anna%40example.org#..5"},
		{"@evil.example", "", "", "https://www.example.com:8443//offers?for=%40evil.example&by=anna%40example.org#"},
	} {
		got, err := u.Render(anna("first_name", c.name, "city", c.city, "code", c.code))
		if err != nil || got != c.want {
			t.Errorf("got  %s (%v)\nwant %s", got, err, c.want)
		}
		if parsed, err := url.Parse(got); err != nil || parsed.Host != "www.example.com:8443" ||
			parsed.Query().Get("for") != c.name ||
			parsed.Query().Get("code") != c.code {
			t.Errorf("%s is read as %+v, %v", got, parsed, err)
		}
	}
}

func TestAURLThatARecipientCannotHaveFailsHimAlone(t *testing.T) {
	t.Parallel()
	u := mustCompileURL(t, `https://www.example.com/{{.first_name}}/{{.city}}x`).NewRenderer(t.Context())
	for _, c := range []struct{ name, city, want string }{
		{"..", "", `holds "." or ".."`},
		{".", "", `holds "." or ".."`},
		{"a/../..", "", `holds "." or ".."`},
		{`a\..\b`, "", `holds "." or ".."`},
		{strings.Repeat("ü", 3000), "", "is longer than 8192 octets"},
	} {
		_, err := u.Render(anna("first_name", c.name, "city", c.city))
		var p *Problem
		if !errors.As(err, &p) || p.Field != FieldPageURL || !strings.Contains(p.Message, c.want) {
			t.Errorf("%.20q: got %v", c.name, err)
		}
	}
	_, err := u.Render(Recipient{Address: "anna@example.org", Attributes: field.Values{"first_name": {Text: "Anna"}}})
	if err == nil || err.Error() != `content.page_url line 1, column 43: no field "city"` {
		t.Errorf("got %v", err)
	}
	if got, err := u.Render(anna("city", "O")); err != nil || got != "https://www.example.com/Anna/Ox" {
		t.Errorf("the next one: %s, %v", got, err)
	}
}

func TestATemplateThatIsNoURLIsAProblemWithItsPlace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "line 1, column 1: must begin with http:// or https://",
		"{{.url}}":               "line 1, column 1: must begin with http://",
		"ftp://www.example.com/": "line 1, column 1: must begin with http://",
		"https://{{.host}}/":     "line 1, column 9: the host, and a / behind it, must come before the first {{",
		"https://www.example.com{{.path}}": "line 1, column 24: the host, and a / behind it, " +
			"must come before the first {{",
		"https://www.{{.x}}.example.com/": "line 1, column 13: the host, and a / behind it, " +
			"must come before the first {{",
		"{{if .x}}https://a.example/{{end}}": "line 1, column 1: must begin with http://",
		"https:///{{.x}}":                    "has no usable host",
		"https://a b/":                       "has no usable host",
		"https://a.example\\@b.example/":     "has no usable host",
		"https://a.example:x/":               "has no usable host",
		"https://user:pw@a.example/{{.x}}":   "has a user name or a password",
		"https://a.example/a b": "line 1, column 20: holds ' ', which a URL cannot: " +
			"write it as %20",
		"https://a.example/ü/{{.x}}\"": "line 1, column 27: holds '\"', which a URL cannot: " +
			"write it as %22",
		"https://a.example/100%": "line 1, column 22: holds '%', which a URL cannot: " +
			"write it as %25",
		"https://a.example/%zz":      "line 1, column 19: holds '%'",
		"https://a.example/%2{{.x}}": "line 1, column 19: holds '%'",
		"https://a.example/{{.x | urlquery}}": "line 1, column 26: values are escaped for the URL by themselves: " +
			"leave out urlquery",
		"https://a.example/{{.x":                                 "line 1, column 19: unclosed action",
		"https://a.example/{{shout .x}}":                         `function "shout" not defined`,
		"https://a.example/{{if .x}}{{.y | js}}{{else}}x{{end}}": "leave out js",
	} {
		_, problem := CompileURL(text)
		if problem == nil || problem.Field != FieldPageURL || !strings.Contains(problem.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, problem, want)
		}
	}
}

// FuzzURL: whatever the values, they are values: neither the host nor the shape of the URL changes,
// and what was put in comes out.
func FuzzURL(f *testing.F) {
	f.Add("a", "b", "c")
	f.Add("../..", "?x=1#y", "\r\nHost: evil.example")
	f.Add("%2e%2e", "@evil.example/", "a&b=c;d+e")
	f.Add("\\", "//evil.example", "\xff\x00")
	compiled := mustCompileURL(
		f,
		`http://www.example.com/in/{{.a}}/{{printf "%s-%s" .a .b}}{{if .c}}/more{{end}}?x={{.b}}&y=1{{.c}}`,
	)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		got, err := compiled.NewRenderer(t.Context()).
			Render(Recipient{Address: "anna@example.org", Attributes: field.Texts(map[string]string{"a": a, "b": b, "c": c})})
		if err != nil {
			var p *Problem
			if !errors.As(err, &p) {
				t.Errorf("got %v", err)
			}
			return
		}
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7F {
				t.Fatalf("%q holds %q", got, got[i])
			}
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "http" || u.Host != "www.example.com" || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q is %+v, %v", got, u, err)
		}
		steps := []string{"", "in", a, a + "-" + b}
		if c != "" {
			steps = append(steps, "more")
		}
		raw := strings.Split(u.EscapedPath(), "/")
		if len(raw) != len(steps) {
			t.Fatalf("%q has %d steps, want %q", got, len(raw), steps)
		}
		for i, step := range raw {
			if text, err := url.PathUnescape(step); err != nil || text != steps[i] || text == ".." || text == "." {
				t.Errorf("step %d of %q is %q, %v: want %q", i, got, text, err, steps[i])
			}
		}
		q, err := url.ParseQuery(u.RawQuery)
		if err != nil || len(q) != 2 || q.Get("x") != b || q.Get("y") != "1"+c {
			t.Errorf("the query of %q is %q, %v", got, q, err)
		}
	})
}
