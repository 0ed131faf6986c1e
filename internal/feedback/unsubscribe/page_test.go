package unsubscribe

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestEveryAnswerKeepsTheLinkASecretAndRunsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := f.token("spring", 1)
	for name, a := range map[string]answer{
		"page": f.do("GET", "/u/"+in, "", ""), "one click": f.oneClick(in), "form": f.post(in, "scope", "all"),
		"not found": f.do("GET", "/x", "", ""), "wrong method": f.do("PUT", "/u/"+in, "", ""), "no form": f.post(in),
	} {
		for key, want := range map[string]string{"Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex, nofollow"} {
			if got := a.header.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
		policy := a.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "form-action 'self'", "base-uri 'none'",
			"frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy %q lacks %s", name, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "script") {
			t.Errorf("%s: the policy is %q", name, policy)
		}
		if a.header.Get("Set-Cookie") != "" || strings.Contains(strings.ToLower(a.body), "<script") ||
			strings.Contains(a.body, in) || strings.Contains(a.body, "http") {
			t.Errorf("%s: a cookie, a script, the token or an address is in the answer:\n%s", name, a.body)
		}
	}
}

func TestThePolicyAllowsTheStyleOfThePageAndNoOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := f.do("GET", "/u/x", "", "")
	_, rest, _ := strings.Cut(a.body, "<style>")
	style, _, found := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if policy := a.header.Get("Content-Security-Policy"); !found || !strings.Contains(policy, want+";") {
		t.Errorf("the policy is %s, want %s", policy, want)
	}
	if strings.Contains(strings.ReplaceAll(a.body, "<style>", ""), "style=") {
		t.Error("an attribute has a style, which the policy forbids")
	}
}

func TestThePageSpeaksTheLanguageOfTheBrowser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for accepted, want := range map[string]string{
		"": "en", "de-AT,de;q=0.9,en;q=0.8": "de", "fr": "fr", "es-MX": "es", "ja,en;q=0.5": "en", "ja": "en",
		"*": "en", "x;;;q=1": "en", "pt,fr;q=0.3": "fr", strings.Repeat("de,", 2000): "de",
	} {
		a := f.do("GET", "/u/x", "", "", "Accept-Language", accepted)
		if a.status != http.StatusOK || !strings.Contains(a.body, `<html lang="`+want+`">`) ||
			a.header.Get("Content-Language") != want || a.header.Get("Vary") != "Accept-Language" {
			t.Errorf("%.20q: %d, %q", accepted, a.status, a.header.Get("Content-Language"))
		}
	}
}

// Every control has a name that a screen reader reads, and every page a title, a heading and a
// language.
func TestThePagesCanBeUsedWithAKeyboardAndAScreenReader(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := f.token("spring", 1)
	left := f.post(in, "scope", "this")
	undone := f.post(in, "scope", "this", "undo", proofIn(t, left.body))
	f.exec(`ALTER TABLE opt_outs RENAME TO gone`)
	for name, a := range map[string]answer{"asking": f.do("GET", "/u/"+in, "", ""), "left": left, "undone": undone,
		"failed": f.post(in, "scope", "all")} {
		page, err := html.Parse(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		labels, ids := map[string]bool{}, map[string]bool{}
		for n := range page.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			count[n.Data]++
			if n.Data == "label" {
				labels[attribute(n, "for")] = true
			}
			if n.Data == "input" && attribute(n, "type") != "hidden" {
				ids[attribute(n, "id")] = true
			}
			if (n.Data == "title" || n.Data == "h1" || n.Data == "button" || n.Data == "legend" || n.Data == "label") &&
				(n.FirstChild == nil || strings.TrimSpace(n.FirstChild.Data) == "") {
				t.Errorf("%s: <%s> is empty", name, n.Data)
			}
			if n.Data == "html" && attribute(n, "lang") == "" || attribute(n, "tabindex") != "" {
				t.Errorf("%s: <%s> has the attributes %v", name, n.Data, n.Attr)
			}
		}
		for _, element := range []string{"title", "h1", "main", "button", "form"} {
			if count[element] != 1 {
				t.Errorf("%s: %d <%s>", name, count[element], element)
			}
		}
		for id := range ids {
			if !labels[id] {
				t.Errorf("%s: the control %q has no label", name, id)
			}
		}
		if name != "left" && (len(ids) != 2 || count["fieldset"] != 1 || count["legend"] != 1) {
			t.Errorf("%s: %d choices in %d groups", name, len(ids), count["fieldset"])
		}
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func writeLook(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "look.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTextsAndColoursCanBeSet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	italian := "  it: {title: A, question: B, this: C, all: D, button: E, left_title: F, left_this: G, left_all: H, " +
		"undo_hint: I, undo: J, undone_title: K, undone: L, failed_title: M, failed: \"<b>N</b>\"}\n"
	look, err := ReadLook(writeLook(t, "brand: Harbour & Hill\ncolours:\n  light: {accent: \"#7a1f3d\"}\n"+
		"languages:\n  en: {title: Leave us}\n"+italian))
	if err != nil {
		t.Fatal(err)
	}
	f.start(Options{Look: look})
	a := f.do("GET", "/u/x", "", "", "Accept-Language", "en")
	for _, part := range []string{"<h1>Leave us</h1>", "Harbour &amp; Hill", "--accent: #7a1f3d", "--accent: #7fd1dc",
		"Which mail"} {
		if !strings.Contains(a.body, part) {
			t.Errorf("%q is not in the page:\n%s", part, a.body)
		}
	}
	if a = f.do("GET", "/u/x", "", "", "Accept-Language", "it"); !strings.Contains(a.body, "<h1>A</h1>") {
		t.Errorf("in Italian:\n%s", a.body)
	}
	if a = f.do("GET", "/u/x", "", "", "Accept-Language", "ja"); !strings.Contains(a.body, `lang="en"`) {
		t.Errorf("in a language that is not there:\n%s", a.body)
	}
}

func TestEveryProblemOfTheTextsIsNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"brnad: x":                        "brnad",
		"colours: {light: {accent: red}}": "colours.light.accent is not a colour such as #0b5c66",
		"colours: {dark: {text: \"#333333\"}}": "colours.dark: text on card has a contrast of 1.3: choose colours with 4.5 " +
			"or more, so that everybody can read them",
		"languages: {it: {title: A}}":            "languages.it.left_title is missing",
		"languages: {\"no language\": {}}":       `languages: "no language" is not a language such as it or pt-BR`,
		"colours: {light: {text: \"</style>\"}}": "colours.light.text is not a colour",
	} {
		_, err := ReadLook(writeLook(t, text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	if _, err := ReadLook("/nowhere/look.yaml"); err == nil || strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestTheColoursThatAreBuiltInHaveContrast(t *testing.T) {
	t.Parallel()
	if problems := builtIn().Colours.problems(); len(problems) > 0 {
		t.Error(problems)
	}
	if got := contrast("#ffffff", "#000000"); got < 20.9 || got > 21.1 {
		t.Errorf("black on white has %f", got)
	}
}
