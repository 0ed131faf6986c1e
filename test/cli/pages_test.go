package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPreviewShowsThePageThatSomebodyWouldGet(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gone":
			http.NotFound(w, r)
		case "/down":
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<p>page %s for %s, {{not a template}}</p>", r.URL.Path, r.URL.Query().Get("to"))
		}
	}))
	t.Cleanup(server.Close)
	s := newShellWithoutServers(t)
	s.env["DM_PAGE_HOSTS"] = "127.0.0.0/8"
	s.write("people.csv", "email,step\na@example.com,ä b\nb@example.com,gone\nc@example.com,down\nd@example.com,..\n")
	letter := "from: news@example.com\nsubject: News\nlist: {name: people, file: people.csv}\ncontent:\n  page_url: " +
		server.URL + "/{{.step}}?to={{.email}}\n"
	s.write("letter.yaml", letter)
	if out := s.must("preview", "-f", "letter.yaml"); strings.Count(out,
		"page /=C3=A4 b for a@example.com, {{not a template}}") != 2 {
		t.Errorf("the preview is\n%s", out)
	}
	s.run("preview", "-f", "letter.yaml", "--recipient", "b@example.com").wantError(t, 2,
		"this recipient would fail: letter.yaml:5:13: content.page_url: 127.0.0.1 answered 404")
	s.run("preview", "-f", "letter.yaml", "--recipient", "c@example.com").wantError(t, 1,
		"the page server is unavailable: 127.0.0.1 answered 503; a mailing would try again")
	s.run("preview", "-f", "letter.yaml", "--recipient", "d@example.com").wantError(t, 2,
		"would fail: letter.yaml:5:13: content.page_url: a value holds")

	s.with("DM_PAGE_HOSTS", "").run("preview", "-f", "letter.yaml").wantError(t, 2,
		"would fail: letter.yaml:5:13: content.page_url: 127.0.0.1:", "its address is not public")
	s.with("DM_PAGE_HOSTS", "ftp://x").run("preview", "-f", "letter.yaml").wantError(t, 2,
		"DM_PAGE_HOSTS: entry 1 is not a host")

	s.write("letter.yaml", strings.Replace(letter, "{{.step}}", "{{.stpe}}", 1)+"  page_column: pgae\n")
	s.run("preview", "-f", "letter.yaml").wantError(t, 2,
		"content.page_url: no column of the list is named stpe: there are email, step",
		"letter.yaml:6:16: content.page_column: no column of the list is named pgae", "2 problems; nothing was done")
	s.write("letter.yaml", strings.Replace(letter, "/{{.step}}", "{{.step}}", 1))
	s.run("preview", "-f", "letter.yaml").
		wantError(t, 2, "letter.yaml:5:13: content.page_url: the host, and a / behind it, must come before the first {{")
	s.write("letter.yaml", letter+"  page_hosts: [www.example.com]\n")
	s.run("preview", "-f", "letter.yaml").wantError(t, 2,
		"letter.yaml:5:13: content.page_url: its host is not one of page_hosts")
	s.write("letter.yaml", strings.Split(letter, "content:")[0]+"content: {text: 'Hello {{nobody', static: true}\n")
	if out := s.must("preview", "-f", "letter.yaml"); !strings.Contains(out, "\r\n\r\nHello {{nobody\r\n") {
		t.Errorf("static content:\n%s", out)
	}
}
