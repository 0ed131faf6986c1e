package servers

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// webUI is what a browser gets of Temporal's Web UI. The Web UI itself answers requests for any
// host. So a page of a stranger, whose name is made to lead to this machine, could read and end
// mailings in the browser of a developer (DNS rebinding). webUI answers for its own names only.
type webUI struct {
	server *http.Server
	port   int
}

// serveWebUI listens on a port of the loopback, 0 for a free one, and passes requests on to the Web
// UI behind it.
func serveWebUI(port int, behind string) (*webUI, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	port = l.Addr().(*net.TCPAddr).Port
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: behind})
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0), // a browser that goes away is no news
	}
	own := []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("localhost:%d", port)}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(own, r.Host) {
			http.Error(w, "this is "+own[0]+" only", http.StatusMisdirectedRequest)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	ui := &webUI{&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}, port}
	go func() { _ = ui.server.Serve(l) }()
	return ui, nil
}

func (u *webUI) close() {
	if u != nil {
		_ = u.server.Close()
	}
}

// hiddenLoopback returns an address of the loopback for the Web UI itself. Linux has 16 million of
// them, so that a page in a browser cannot try them all, with all their ports.
func hiddenLoopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), 1+rand.IntN(254), 1+rand.IntN(254))
}
