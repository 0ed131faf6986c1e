package uitest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// timeout is long enough for a busy machine.
const timeout = 2 * time.Minute

// browsers are the names of Chromium, in the order in which they are tried.
var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

// startBrowser starts a browser with a new profile. The browser connects only to the pages that it
// is told to open. Without a browser, the test is skipped.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	var program string
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skipf("no browser on PATH (%s): install Debian's package chromium", strings.Join(browsers, ", "))
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program),
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1400, 1000),
		chromedp.NoSandbox, chromedp.DisableGPU) // the defaults include headless, no background networking, no sync
	for _, flag := range []string{"disable-quic", "disable-component-update"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	return ctx
}

// details is what the browser shows of a workflow's current details.
type details struct {
	Text   string       // as a reader sees it
	Tables [][][]string // tables, rows, cells
	Lists  [][]string   // lists, entries
	Others []string     // names of elements that the details should not have
	Bottom float64      // of the table, in pixels below the top of the page
	Height float64      // of the window
}

// readDetails is a script that returns the details, or null until their frame has loaded.
const readDetails = `(() => {
	for (const frame of document.querySelectorAll('iframe[title=output]')) {
		const main = frame.contentDocument && frame.contentDocument.querySelector('main');
		if (!main || !main.innerText.includes('State:')) continue;
		const text = e => e.innerText.replaceAll('\u00a0', ' ').trim();
		const all = (e, s) => Array.from(e.querySelectorAll(s));
		const last = Math.max(...all(main, 'table').map(e => e.getBoundingClientRect().bottom));
		return {
			Text: text(main),
			Tables: all(main, 'table').map(t => all(t, 'tr').map(r => all(r, 'th, td').map(text))),
			Lists: all(main, 'ul').map(l => all(l, 'li').map(text)),
			Others: all(main, '*').map(e => e.localName).filter(n =>
				!['p','ul','li','table','thead','tbody','tr','th','td','strong','em'].includes(n)),
			Bottom: frame.getBoundingClientRect().top + last,
			Height: window.innerHeight,
		};
	}
	return null;
})()`

// show opens the page with the workflow's current details until the condition holds, and saves a
// picture of it.
func show(t *testing.T, browser context.Context, ui, workflow, run, picture string, is func(details) bool) details {
	t.Helper()
	address := ui + "/namespaces/default/workflows/" + workflow + "/" + run + "/user-metadata"
	var d details
	for end := time.Now().Add(timeout); ; {
		ctx, cancel := context.WithTimeout(browser, timeout)
		err := chromedp.Do(ctx, chromedp.Navigate(address))
		if err == nil {
			d, err = chromedp.Run(ctx, chromedp.Poll[details](readDetails, chromedp.WithPollingTimeout(timeout)))
		}
		cancel()
		if err == nil && is(d) {
			break
		}
		if time.Now().After(end) {
			text, _ := json.MarshalIndent(d, "", "  ")
			savePicture(t, browser, picture)
			t.Fatalf("the page never showed what it should: %v\n%s", err, text)
		}
	}
	savePicture(t, browser, picture)
	return d
}

// savePicture writes a picture of the page into the folder for artifacts: see `go help testflag`,
// -artifacts.
func savePicture(t *testing.T, browser context.Context, name string) {
	t.Helper()
	png, err := chromedp.Run(browser, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(t.ArtifactDir(), name), png, 0o600)
	}
	if err != nil {
		t.Errorf("take a picture of the page: %v", err)
	}
}
