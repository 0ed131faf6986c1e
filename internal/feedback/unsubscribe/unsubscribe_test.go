package unsubscribe

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/token/tokentest"
)

func TestAPostOfAMailProgramActsAtOnceInEitherEncoding(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const parts = "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n"
	for i, in := range []struct{ mailing, kind, body string }{
		{"spring", urlencoded, "List-Unsubscribe=One-Click"},
		{"autumn", "multipart/form-data; boundary=x", parts},
		{"winter", "", "List-Unsubscribe=One-Click\r\n"},
		{"winter", "text/plain", "List-Unsubscribe=one-click"},
		{"winter", "multipart/form-data; boundary=x", strings.ReplaceAll(parts, "One-Click", "One-Click\r\n")},
	} {
		a := f.do("POST", "/u/"+f.token(in.mailing, max(1, i-1)), in.kind, in.body)
		if a.status != http.StatusOK || len(f.optOuts()) != i+1 {
			t.Errorf("%s: status %d, %q", in.mailing, a.status, f.optOuts())
		}
	}
	f.wantOptOuts("spring-1@example.org topic:offers asked spring", "autumn-1@example.org list:people asked autumn",
		"winter-1@example.org all asked winter", "winter-2@example.org all asked winter",
		"winter-3@example.org all asked winter")
	for range 3 { // programs repeat it
		if a := f.oneClick(f.token("autumn", 1)); a.status != http.StatusOK {
			t.Errorf("again: %d", a.status)
		}
	}
	if n := len(f.optOuts()); n != 5 {
		t.Errorf("%d opt-outs", n)
	}
}

// Mail scanners open every link, some of them often.
func TestLookingAtThePageAThousandTimesUnsubscribesNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.start(Options{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	f.server.handler.limits.total.SetLimit(rate.Inf)
	tokens := []string{f.token("spring", 1), f.token("autumn", 2), f.token("winter", 3)}
	for i := range 1000 {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			client := fmt.Sprintf("192.0.2.%d", i%20)
			a := f.do(method, "/u/"+tokens[i%3]+"?scope=all&List-Unsubscribe=One-Click", "", "", "X-Forwarded-For", client)
			if a.status != http.StatusOK {
				t.Fatalf("%s %d: %d", method, i, a.status)
			}
		}
	}
	f.wantOptOuts()
}

func TestThePageActsForTheChosenScopeAndUndoesIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := f.token("autumn", 2)
	page := f.post(in, "scope", "all")
	f.wantOptOuts("autumn-2@example.org all asked autumn")
	undo := f.post(in, "scope", "all", "undo", proofIn(t, page.body))
	if undo.status != http.StatusOK || !strings.Contains(undo.body, "Undone") {
		t.Errorf("undo: %d %s", undo.status, undo.body)
	}
	f.wantOptOuts()
	f.post(in, "scope", "this")
	f.wantOptOuts("autumn-2@example.org list:people asked autumn")
}

var proofField = regexp.MustCompile(`name="undo" value="([^"]+)"`)

func proofIn(t *testing.T, body string) string {
	t.Helper()
	m := proofField.FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("the page offers no undo:\n%s", body)
	}
	return m[1]
}

// The link itself is in mail that others may read. Only the page of who has just left undoes it.
func TestNobodyUndoesWithoutTheProofOfThePage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in, other := f.token("autumn", 1), f.token("autumn", 2)
	proof := proofIn(t, f.post(in, "scope", "this").body)
	ofOther := proofIn(t, f.post(other, "scope", "this").body)
	left := []string{"autumn-1@example.org list:people asked autumn", "autumn-2@example.org list:people asked autumn"}
	end, seal, _ := strings.Cut(proof, ".")
	for _, wrong := range []string{"x", ".", ofOther, end + ".", end + "." + seal + "A", "zzzzzz." + seal, seal,
		"1." + seal} {
		if a := f.post(in, "scope", "this", "undo", wrong); a.status != http.StatusOK {
			t.Errorf("%q: %d", wrong, a.status)
		}
		f.wantOptOuts(left...)
	}
	f.post(in, "scope", "all")
	f.post(in, "scope", "all", "undo", proof) // the proof is for the other choice
	left = append([]string{"autumn-1@example.org all asked autumn"}, left...)
	f.wantOptOuts(left...)
	f.server.handler.now = func() time.Time { return time.Now().Add(undoTime + time.Second) }
	f.post(in, "scope", "this", "undo", proof)
	f.wantOptOuts(left...)
}

// An earlier request is the person's as well, and this page has not made it.
func TestUndoLeavesTheRequestsOfOtherMailings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.exec(`INSERT INTO opt_outs (address_key, scope, reason, mailing)
		VALUES ('autumn-1@example.org', 'all', 'asked', 'old'),
		('autumn-1@example.org', 'all', 'complaint', 'autumn')`)
	in := f.token("autumn", 1)
	f.post(in, "scope", "all", "undo", proofIn(t, f.post(in, "scope", "all").body))
	f.wantOptOuts("autumn-1@example.org all asked old", "autumn-1@example.org all complaint autumn")
}

// stranger returns tokens that must not act.
func strangers(f *fixture) map[string]string {
	genuine := f.token("spring", 1)
	bounce := f.keys.ForURL(token.Bounce, token.Recipient{Mailing: 1, Number: 1})
	return map[string]string{
		"another key":            tokentest.Keys(f, "o").ForURL(token.Unsubscribe, token.Recipient{Mailing: 1, Number: 1}),
		"another kind":           bounce,
		"cut":                    genuine[:len(genuine)-1],
		"longer":                 genuine + "A",
		"a changed bit":          flipped(genuine),
		"nonsense":               "nonsense",
		"very long":              strings.Repeat("A", 3000),
		"in the other spelling":  f.keys.ForAddress(token.Unsubscribe, token.Recipient{Mailing: 1, Number: 1}),
		"a mailing that is gone": f.keys.ForURL(token.Unsubscribe, token.Recipient{Mailing: 4711, Number: 1}),
		"nobody of the mailing":  f.keys.ForURL(token.Unsubscribe, token.Recipient{Mailing: 1, Number: 4}),
		"a number too large":     f.keys.ForURL(token.Unsubscribe, token.Recipient{Mailing: 1, Number: 1 << 40}),
	}
}

func flipped(s string) string {
	c := byte('A')
	if s[3] == c {
		c = 'B'
	}
	return s[:3] + string(c) + s[4:]
}

func TestNoAnswerTellsWhetherATokenIsGenuine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := f.token("spring", 1)
	page, click := f.do("GET", "/u/"+in, "", ""), f.oneClick(in)
	form := f.post(in, "scope", "all")
	all := f.optOuts()
	for name, wrong := range strangers(f) {
		sameAnswer(t, name+", GET", page, f.do("GET", "/u/"+wrong, "", ""))
		sameAnswer(t, name+", one click", click, f.oneClick(wrong))
		sameAnswer(t, name+", form", form, f.post(wrong, "scope", "all"))
	}
	f.wantOptOuts(all...)
	f.exec(`DELETE FROM recipients`)
	f.exec(`DELETE FROM mailings`)
	sameAnswer(t, "deleted", form, f.post(in, "scope", "all"))
	sameAnswer(t, "deleted, one click", click, f.oneClick(in))
}

var proofValue = regexp.MustCompile(`(name="undo" value=")[^"]+`)

// sameAnswer compares answers, but for the proof, which is another one each time.
func sameAnswer(t *testing.T, name string, want, got answer) {
	t.Helper()
	plain := func(s string) string { return proofValue.ReplaceAllString(s, "$1") }
	if got.status != want.status || plain(got.body) != plain(want.body) || len(got.body) != len(want.body) {
		t.Errorf("%s: %d %q, want %d %q", name, got.status, got.body, want.status, want.body)
	}
	for key := range want.header {
		if key != "Date" && strings.Join(got.header[key], ";") != strings.Join(want.header[key], ";") {
			t.Errorf("%s: %s is %q, want %q", name, key, got.header[key], want.header[key])
		}
	}
}

func TestALinkWorksAfterTheKeysHaveRotated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := f.token("autumn", 3)
	f.keys = tokentest.Keys(t, "n", "k")
	f.start(Options{})
	if a := f.oneClick(in); a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
	f.wantOptOuts("autumn-3@example.org list:people asked autumn")
}

func TestAProxyMayTakeThePathOfThePublicURLOff(t *testing.T) {
	t.Parallel()
	h := &handler{base: basePath("https://mail.example.com/mailer/")}
	for path, want := range map[string]string{"/mailer/u/x": "x", "/u/x": "x", "/other/u/x": "", "/mailer/mailer/u/x": "",
		"/mailer/u/": "", "/mailer/u/x/y": "", "/mailer/u/x.": "x"} {
		got, ok := h.token(&http.Request{URL: &url.URL{Path: path}})
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %t", path, got, ok)
		}
	}
}

// "You can leave at https://mail.example.com/u/…." is a link with a full stop to some programs.
func TestALinkWorksWithThePunctuationBehindIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.start(Options{})
	for n, behind := range []string{".", "),%3E", "%E2%80%9D"} {
		if a := f.post(f.token("autumn", n+1)+behind, "scope", "this"); a.status != http.StatusOK {
			t.Errorf("%s: status %d", behind, a.status)
		}
	}
	f.wantOptOuts("autumn-1@example.org list:people asked autumn", "autumn-2@example.org list:people asked autumn",
		"autumn-3@example.org list:people asked autumn")
}

// A sender must not believe that it has left when this worker cannot know who it is.
func TestAListenerThatLacksAKeyDoesNotSayThatSomebodyHasLeft(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in, key := f.token("autumn", 1), f.keys.Name()
	f.keys = tokentest.Keys(t, "n")
	f.start(Options{})
	if a := f.oneClick("x"); a.status != http.StatusOK { // the keys are looked up before the first request
		t.Errorf("nonsense, when no mailing needs another key: %d", a.status)
	}
	// Another worker opens mailings. People may leave one of them within its first second.
	f.exec(`UPDATE mailings SET marks = jsonb_build_object('token_key', $1::text)`, key)
	if a := f.oneClick(in); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("one click: %d", a.status)
	}
	if a := f.post(in, "scope", "all"); a.status != http.StatusServiceUnavailable ||
		!strings.Contains(a.body, "That did not work") {
		t.Errorf("form: %d %s", a.status, a.body)
	}
	f.exec(`INSERT INTO mailings (key, id, first_run_id, input, list, state) OVERRIDING SYSTEM VALUE
		VALUES (1 << 20, 'later', 'run', '{}', 'people', 'preparing')`)
	f.oneClick("x") // others were opened after it
	if a := f.oneClick(in); a.status != http.StatusServiceUnavailable {
		t.Errorf("one click for an older mailing: %d", a.status)
	}
	f.exec(`DELETE FROM recipients WHERE mailing = (SELECT key FROM mailings WHERE id = 'autumn')`)
	f.exec(`UPDATE mailings SET marks = '{}'`) // nobody needs the key any more
	if err := f.watch.Look(t.Context()); err != nil {
		t.Error(err)
	}
	if a := f.oneClick(in); a.status != http.StatusOK {
		t.Errorf("one click, when nobody needs the key: %d", a.status)
	}
}

func TestAPostThatCannotBeCommittedIsNotAnswered200(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.exec(`ALTER TABLE opt_outs RENAME TO gone`)
	for name, a := range map[string]answer{"one click": f.oneClick(f.token("spring", 1)),
		"form": f.post(f.token("spring", 2), "scope", "all")} {
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	f.exec(`ALTER TABLE gone RENAME TO opt_outs`)
	f.oneClick(f.token("spring", 1))
	f.wantOptOuts("spring-1@example.org topic:offers asked spring")
}

func TestOnlyKnownRequestsAct(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := f.token("autumn", 1)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"} {
		if a := f.do(method, "/u/"+in, urlencoded, "List-Unsubscribe=One-Click"); a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, a.status)
		}
	}
	for _, path := range []string{"/", "/u/", "/u", "/u/" + in + "/", "//u/" + in, "/u/x/" + in, "/U/" + in, "/x/u/" + in,
		"/u/../u/" + in, "/u/" + in + "/../x", "/robots.txt", "/u/%2e%2e/" + in} {
		if a := f.do("POST", path, urlencoded, "List-Unsubscribe=One-Click"); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, body := range []string{"", "x=y", "scope=", "scope=other", "List-Unsubscribe=", "List-Unsubscribe=No",
		"undo=x", "List-Unsubscribe=One-Click&undo=x", "scope=%zz",
		"scope=all&x=" + strings.Repeat("a", maxBody)} {
		if a := f.do("POST", "/u/"+in, urlencoded, body); a.status != http.StatusBadRequest {
			t.Errorf("%.20q: %d", body, a.status)
		}
	}
	if a := f.do("POST", "/u/"+in, "application/json", `{"List-Unsubscribe":"One-Click"}`); a.status != 400 {
		t.Errorf("JSON: %d", a.status)
	}
	if a := f.do("POST", "/u/"+in, "multipart/form-data", "List-Unsubscribe=One-Click"); a.status != 400 {
		t.Errorf("no boundary: %d", a.status)
	}
	parts := strings.Repeat("--x\r\nContent-Disposition: form-data; name=scope\r\n\r\nall\r\n", maxParts+1) + "--x--"
	if a := f.do("POST", "/u/"+in, "multipart/form-data; boundary=x", parts); a.status != 400 {
		t.Errorf("too many parts: %d", a.status)
	}
	f.wantOptOuts()
}
