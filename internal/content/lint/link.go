package lint

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/publicsuffix"

	"directmailer/internal/audience/address"
	"directmailer/internal/content/render"
)

// html looks at an HTML part.
func (l *Linter) html(page document, found once) {
	for _, each := range page.links {
		at := l.source.address("link", each.number, each.address)
		if code, message := judgeLink(each.address); code != "" {
			found.addAt(code, at, message)
		} else if misleads(each) {
			found.addAt(LinkMisleading, at, "its text shows another host than it leads to")
		}
	}
	for _, each := range page.pictures {
		at := l.source.address("image", each.number, each.address)
		if code, message := judgeImage(each.address); code != "" {
			found.addAt(code, at, message)
		}
		if !each.alt {
			found.addAt(ImageAlt, at, "has no alt text")
		}
	}
	at := spot{where: "HTML part", field: render.FieldHTML}
	if len(page.active) > 0 {
		found.addAt(HTMLActive, at, "has an element "+page.active[0])
	}
	if page.hidden > 0 || page.hiddenLinks {
		found.addAt(HiddenContent, at, "hides text from the reader")
	}
	if page.images > 0 && page.letters < 20 {
		found.addAt(ImagesOnly, at, "has images and next to no text")
	}
}

var webAddress = regexp.MustCompile(`(?i)\bhttps?://[^\s<>"]+`)

// textLinks looks at the addresses in a text part.
func (l *Linter) textLinks(text string, found once) {
	for i, each := range webAddress.FindAllString(text, -1) {
		each = strings.TrimRight(each, ".,;:!?)]'")
		if code, message := judgeLink(each); code != "" {
			found.addAt(code, l.source.textual(i+1, each), message)
		}
	}
}

// judgeLink returns what is wrong with the address of a link, or "".
func judgeLink(written string) (Code, string) {
	trimmed := strings.TrimSpace(written)
	scheme, rest, _ := strings.Cut(trimmed, ":")
	switch lower := strings.ToLower(scheme); {
	case trimmed == "" || trimmed == "#":
		return LinkEmpty, "leads nowhere"
	case strings.HasPrefix(trimmed, "#"):
		return "", "" // a place in the message
	case lower == "mailto":
		return judgeMailto(rest)
	case lower == "javascript" && (strings.Trim(rest, " ;") == "" || strings.HasPrefix(rest, "void")):
		return LinkEmpty, "leads nowhere"
	case lower == "javascript", lower == "vbscript", lower == "data", lower == "file", lower == "blob", lower == "about":
		return LinkMalformed, "has a scheme that mail programs block"
	case lower == "http", lower == "https":
		return judgeWeb(trimmed)
	case scheme == trimmed || !isScheme.MatchString(scheme):
		return LinkMalformed, "is relative: it has no scheme and host"
	}
	return "", "" // tel:, sms:, an app
}

var isScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+-]*$`)

func judgeMailto(rest string) (Code, string) {
	to, _, _ := strings.Cut(rest, "?")
	for each := range strings.SplitSeq(to, ",") {
		plain, err := url.PathUnescape(each)
		if err == nil {
			_, err = address.Parse(strings.TrimSpace(plain))
		}
		if err != nil && to != "" {
			return LinkMalformed, "has no valid mail address"
		}
	}
	if to == "" && !strings.Contains(rest, "to=") {
		return LinkMalformed, "has no mail address"
	}
	return "", ""
}

func judgeWeb(written string) (Code, string) {
	u, err := url.Parse(written)
	switch {
	case err != nil || u.Hostname() == "" || strings.ContainsAny(written, " \t\r\n<>\"\\^`{}|"):
		return LinkMalformed, "is no complete URL"
	case strings.Contains(written, "ZgotmplZ"):
		return LinkMalformed, "had an unsafe value, which the template has replaced"
	case u.User != nil:
		return LinkMalformed, "has a user name before its host"
	}
	switch hostKind(u.Hostname()) {
	case privateHost:
		return LinkPrivate, "leads to a host that only a private network knows"
	case ipHost:
		return LinkIP, "leads to an IP address"
	case badHost:
		return LinkMalformed, "has a host that is no valid name"
	}
	if u.Scheme == "http" {
		return LinkInsecure, "uses http"
	}
	return "", ""
}

// judgeImage returns what is wrong with the address of an image, or "".
func judgeImage(written string) (Code, string) {
	trimmed := strings.TrimSpace(written)
	lower := strings.ToLower(trimmed)
	switch {
	case trimmed == "":
		return ImageBroken, "has no address"
	case strings.HasPrefix(lower, "data:"):
		return ImageData, "stands in the message itself"
	case strings.HasPrefix(lower, "cid:"):
		return ImageBroken, "names an attachment that the message does not have"
	case !strings.HasPrefix(lower, "http:") && !strings.HasPrefix(lower, "https:"):
		return ImageBroken, "has no https address: it is relative, or has another scheme"
	}
	code, message := judgeWeb(trimmed)
	switch code {
	case LinkMalformed, LinkPrivate:
		return ImageBroken, message
	case LinkIP:
		return ImageInsecure, message
	case LinkInsecure:
		return ImageInsecure, message
	}
	return "", ""
}

type kind int

const (
	publicHost kind = iota
	privateHost
	ipHost
	badHost
)

// hostKind says what the host of a URL is. Browsers read a host whose last part is a number as an
// IP address, also as a single number or in hexadecimal.
func hostKind(host string) kind {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || shared.Contains(ip) {
			return privateHost
		}
		return ipHost
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if numeric.MatchString(last) {
		return ipHost
	}
	switch last {
	case "local", "localhost", "internal", "intranet", "lan", "home", "corp", "private", "localdomain":
		return privateHost
	}
	switch {
	case strings.HasSuffix(host, ".home.arpa"):
		return privateHost
	case !strings.Contains(host, "."):
		return privateHost
	}
	if _, err := address.ParseDomain(strings.ReplaceAll(host, "_", "-")); err != nil {
		return badHost
	}
	return publicHost
}

var (
	shared  = netip.MustParsePrefix("100.64.0.0/10")
	numeric = regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)$`)
)

// shownHost finds what looks like an address of the web in the text of a link.
var shownHost = regexp.MustCompile(`(?i)(?:https?://|\bwww\.)([a-z0-9.-]+)|^((?:[a-z0-9-]+\.)+[a-z]{2,})(?:/\S*)?$`)

// misleads reports whether the text of a link shows a host of another organization than the link's.
func misleads(l link) bool {
	u, err := url.Parse(strings.TrimSpace(l.address))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	found := shownHost.FindStringSubmatch(strings.TrimSpace(l.text))
	if found == nil {
		return false
	}
	shown := strings.ToLower(strings.Trim(found[1]+found[2], "."))
	if found[2] != "" { // a mere word with a dot: only if it is a domain
		if _, known := publicsuffix.PublicSuffix(shown); !known || isFileName.MatchString(shown) {
			return false
		}
	}
	return !Aligned(shown, strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")))
}

var isFileName = regexp.MustCompile(`\.(zip|md|rs|py|sh|pl|ps|mov|app|doc|docx)$`)
