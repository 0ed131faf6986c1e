package unsubscribe

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/text/language"
)

// state is which of the pages is shown.
type state int

const (
	asking state = iota
	left
	undone
	failed
)

// view is what a page shows. Nothing of it depends on the recipient.
type view struct {
	state  state
	choice choice
	proof  string
}

// pages writes the pages, each in the language that the browser asks for.
type pages struct {
	matcher language.Matcher
	tags    []language.Tag
	texts   []Texts
	brand   string
	style   template.CSS
	policy  string
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

func newPages(l *Look) *pages {
	p := &pages{brand: l.Brand, style: template.CSS("\n" + l.variables() + pageCSS)}
	for _, t := range l.Languages {
		p.tags, p.texts = append(p.tags, t.tag), append(p.texts, t.Texts)
	}
	p.matcher = language.NewMatcher(p.tags)
	sum := sha256.Sum256([]byte(p.style))
	p.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return p
}

// setHeader sets what every answer says.
func (p *pages) setHeader(h http.Header) {
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Referrer-Policy", "no-referrer") // the address of the page is a secret of the recipient
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Language")
}

// maxLanguages limits what is read of Accept-Language.
const maxLanguages = 256

// show writes a page.
func (p *pages) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	accepted := r.Header.Get("Accept-Language")
	if len(accepted) > maxLanguages {
		accepted = accepted[:max(strings.LastIndexByte(accepted[:maxLanguages], ','), 0)]
	}
	tags, _, _ := language.ParseAcceptLanguage(accepted)
	_, i, _ := p.matcher.Match(tags...)
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, map[string]any{
		"lang": p.tags[i].String(), "t": p.texts[i], "brand": p.brand, "style": p.style,
		"asking": v.state == asking, "left": v.state == left, "undone": v.state == undone, "failed": v.state == failed,
		"all": v.choice == leaveAll, "proof": v.proof,
	})
	if err != nil {
		plain(w, http.StatusInternalServerError, "the page cannot be shown")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", p.tags[i].String())
	w.Header().Set("Content-Length", strconv.Itoa(b.Len())) // also for HEAD
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // net/http leaves out the body of an answer to HEAD
}
