package start

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/jhillyerd/enmime/v2"

	"directmailer/starter/internal/output"
)

// previewPage makes a page that shows a message: its HTML part, its text part and its headers.
// Nothing in the message can run a script there.
func previewPage(message []byte) ([]byte, error) {
	m, err := enmime.ReadEnvelope(bytes.NewReader(message))
	if err != nil {
		return nil, fmt.Errorf("read the rendered message: %w", err)
	}
	header := func(name string) string { return html.EscapeString(m.GetHeader(name)) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';
 img-src data: http: https:; font-src data: http: https:">
<title>%s</title>
<style>
body { font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
iframe { width: 100%%; height: 70vh; border: 1px solid #999; background: #fff; }
pre { border: 1px solid #999; padding: 1rem; overflow-x: auto; white-space: pre-wrap; }
</style>
</head>
<body>
<h1>%[1]s</h1>
<p>From %s<br>To %s</p>
`, header("Subject"), header("From"), header("To"))
	if m.HTML != "" {
		fmt.Fprintf(
			&b,
			"<h2>HTML</h2>\n<iframe sandbox srcdoc=\"%s\" title=\"HTML part\"></iframe>\n",
			html.EscapeString(withImages(m)),
		)
	}
	fmt.Fprintf(&b, "<h2>Text</h2>\n<pre>%s</pre>\n", html.EscapeString(m.Text))
	headers, _, _ := strings.Cut(string(message), "\r\n\r\n")
	fmt.Fprintf(&b, "<h2>Headers</h2>\n<pre>%s</pre>\n</body>\n</html>\n", html.EscapeString(headers))
	return b.Bytes(), nil
}

// withImages returns the HTML part with the images that the message brings along.
func withImages(m *enmime.Envelope) string {
	text := m.HTML
	for _, part := range append(m.Inlines, m.OtherParts...) {
		if part.ContentID != "" {
			data := "data:" + part.ContentType + ";base64," + base64.StdEncoding.EncodeToString(part.Content)
			text = strings.ReplaceAll(text, "cid:"+part.ContentID, data)
		}
	}
	return text
}

// openBrowser opens a file in the user's browser. BROWSER names another program than that of the
// system.
func openBrowser(path string) error {
	name, args := "xdg-open", []string{path}
	switch {
	case os.Getenv("BROWSER") != "":
		name = os.Getenv("BROWSER")
	case runtime.GOOS == "darwin":
		name = "open"
	case runtime.GOOS == "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", path}
	}
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf(
			"no browser was opened: %s cannot be run: open %s yourself, or set BROWSER",
			output.Typed(name),
			path,
		)
	}
	return cmd.Process.Release()
}
