package servers

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestTheWebUIAnswersForItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "mailings for "+r.Host+r.URL.Path)
	}))
	t.Cleanup(behind.Close)
	ui, err := serveWebUI(0, strings.TrimPrefix(behind.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ui.close)
	port := ":" + strconv.Itoa(ui.port)
	for host, ok := range map[string]bool{"127.0.0.1" + port: true, "localhost" + port: true, "evil.example": false,
		"evil.example" + port: false, "127.0.0.1": false, "127.0.0.1.evil.example" + port: false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1"+port+"/namespaces", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if want := "mailings for " + host + "/namespaces"; ok != (answer.StatusCode == 200) || ok != (string(body) == want) {
			t.Errorf("%s: %s %s", host, answer.Status, body)
		}
	}
}
