package start

import (
	"strings"
	"testing"
)

const previewed = "From: \"A & B\" <news@example.com>\r\nTo: ann@example.com\r\n" +
	"Subject: =?utf-8?q?Caf=C3=A9?= <b>\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n" +
	"--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello <Ann>\r\n" +
	"--x\r\nContent-Type: multipart/related; boundary=y\r\n\r\n" +
	"--y\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p onclick=\"alert(1)\">Hello</p>" +
	"<img src=\"cid:logo@example.com\">\r\n" +
	"--y\r\nContent-Type: image/png\r\nContent-ID: <logo@example.com>\r\nContent-Disposition: inline\r\n" +
	"Content-Transfer-Encoding: base64\r\n\r\naGk=\r\n" +
	"--y--\r\n--x--\r\n"

func TestThePreviewPageShowsHTMLTextAndHeadersAndRunsNothing(t *testing.T) {
	t.Parallel()
	page, err := previewPage([]byte(previewed))
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{
		"<h1>Café &lt;b&gt;</h1>", "Hello &lt;Ann&gt;", "sandbox srcdoc=\"&lt;p onclick=",
		"src=&#34;data:image/png;base64,aGk=&#34;",
		"Subject: =?utf-8?q?Caf=C3=A9?= &lt;b&gt;", "default-src 'none'",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "<p onclick") || strings.Contains(text, "cid:logo") {
		t.Errorf("the HTML part is not in the sandbox, or has no image:\n%s", text)
	}
}
