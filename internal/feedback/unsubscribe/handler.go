package unsubscribe

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
)

// handler answers requests. It keeps nothing of them.
type handler struct {
	keys   token.Keys
	base   string // of the path, as the public URL has it
	limits *limits
	pages  *pages
	add    func(context.Context, change) error
	lacks  func() bool // a key of a mailing: a token that is not ours may be genuine
	now    func() time.Time
}

func newHandler(o Options, g *group) *handler {
	look := o.Look
	if look == nil {
		look = builtIn()
	}
	return &handler{
		keys: o.Settings.Keys, base: basePath(o.Settings.PublicURL), limits: newLimits(o.Proxies),
		pages: newPages(look), add: g.add, lacks: g.keys.Lacks, now: time.Now,
	}
}

// ServeHTTP answers every token alike: one that is genuine, one that is not, and one whose mailing
// is gone.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.pages.setHeader(w.Header())
	if status := h.limits.allow(r); status != 0 {
		w.Header().Set("Retry-After", "10")
		w.Header().Set("Connection", "close") // so that refusals are limited as new connections are
		plain(w, status, "too many requests: try again in a few seconds")
		return
	}
	in, ok := h.token(r)
	if !ok {
		plain(w, http.StatusNotFound, "not found")
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.pages.show(w, r, http.StatusOK, view{})
	case http.MethodPost:
		h.post(w, r, in)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		plain(w, http.StatusMethodNotAllowed, "only GET, HEAD and POST are possible here")
	}
}

// behindLinks are characters behind a link that some programs take for a part of it. No token has
// them.
const behindLinks = ".,;:!)]}>'\"*\u2019\u201d\u00bb\u2026"

// token returns the token of the path. A proxy may have taken the path of the public URL off.
func (h *handler) token(r *http.Request) (string, bool) {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, h.base+feedback.Path); ok {
		path = rest
	} else if path, ok = strings.CutPrefix(path, feedback.Path); !ok {
		return "", false
	}
	path = strings.TrimRight(path, behindLinks)
	return path, path != "" && !strings.Contains(path, "/")
}

// post acts for the choice of a form, or for a mail program's one click.
func (h *handler) post(w http.ResponseWriter, r *http.Request, in string) {
	f, err := readForm(w, r)
	if err != nil {
		plain(w, http.StatusBadRequest, "the form cannot be read")
		return
	}
	who, err := h.keys.FromURL(token.Unsubscribe, in)
	if err != nil {
		who = token.Recipient{}
	}
	c := change{who: who, choice: f.choice, undo: f.undo != ""}
	if c.undo && !h.checkProof(f.undo, in, f.choice) {
		h.pages.show(w, r, http.StatusOK, view{}) // too late: the page of the beginning
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), groupTime+2*groupPause)
	defer cancel()
	err = h.add(ctx, c)
	if err == nil && who == (token.Recipient{}) && h.lacks() {
		err = errNoKey
	}
	if err != nil {
		h.refuse(w, r, err, f.oneClick)
		return
	}
	switch {
	case f.oneClick:
		plain(w, http.StatusOK, "unsubscribed")
	case c.undo:
		h.pages.show(w, r, http.StatusOK, view{state: undone})
	default:
		h.pages.show(w, r, http.StatusOK, view{state: left, choice: c.choice, proof: h.proof(in, c.choice)})
	}
}

// errNoKey is for tokens that a key may have signed which this worker lacks. Their senders must not
// believe that they have left.
var errNoKey = errors.New("a token key is missing")

// refuse says that a request is not written, and may be sent again.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error, oneClick bool) {
	w.Header().Set("Retry-After", "30")
	if errors.Is(err, errBusy) {
		w.Header().Set("Connection", "close")
	}
	if oneClick {
		plain(w, http.StatusServiceUnavailable, "not done: try again in a minute")
		return
	}
	h.pages.show(w, r, http.StatusServiceUnavailable, view{state: failed})
}

// plain answers with a line of text.
func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
