package render

import (
	"regexp"
	"strings"
)

// The template functions that stand in for html/template's filters, and the one for comments.
const (
	urlFilterFunc  = "_urlfilter"
	srcsetFunc     = "_srcset"
	cssFilterFunc  = "_cssfilter"
	nameFilterFunc = "_namefilter"
	bareFunc       = "_bare"
	commentFunc    = "_comment"
)

// valueError says why a value fails its recipient. Its text holds no data of the recipient.
type valueError struct {
	what   string // the value, in the template's words; may be empty
	reason string
}

func (e *valueError) Error() string {
	if e.what == "" {
		return e.reason
	}
	return "the value of " + shorten(e.what) + " " + e.reason
}

const urlReason = "is not a URL that a message may hold: it must begin with https://, http://, mailto:, tel:, " +
	"sms: or another harmless scheme. Write a scheme of your own in the template, in front of the value"

// harmlessSchemes are the schemes of a URL that no client runs as a program. A value with another
// scheme, such as javascript:, fails its recipient. The author can write any scheme in the
// template.
var harmlessSchemes = wordSet(`http https mailto tel sms smsto mms mmsto callto fax modem sip sips sipuri im xmpp
	whatsapp tg telegram viber signal sgnl line
	threema kakaotalk weixin wechat fb-messenger skype facetime facetime-audio facetime-video zoommtg msteams slack
	webcal webcals geo maps google.navigation comgooglemaps waze cid mid ftp ftps sftp nntp news urn doi
	market itms itms-apps itms-appss fb twitter instagram linkedin youtube vnd.youtube spotify
	bitcoin ethereum lightning upi matrix feed`)

func wordSet(list string) map[string]bool {
	all := map[string]bool{}
	for _, each := range strings.Fields(list) {
		all[each] = true
	}
	return all
}

var (
	scheme   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)
	hostPort = regexp.MustCompile(`^(?:localhost|(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+` +
		`[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*):\d{1,5}(?:[/?#]|$)`)
	dataImage = regexp.MustCompile(`(?i)^data:image/(?:png|jpe?g|pjpeg|gif|webp|bmp|avif|heic|apng|tiff|x-icon|` +
		`vnd\.microsoft\.icon)[;,]`)
)

// trimURL takes the blanks and control characters off the ends of a URL, as a browser does.
func trimURL(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7F || r == '\u00a0' || r == '\u200b' || r == '\ufeff'
	})
}

// filterURL returns the value of a URL without the blanks around it. It refuses a scheme that is
// not known to be harmless.
func filterURL(what string, args ...any) (string, error) {
	s := trimURL(printed(args...))
	if !harmlessURL(s) {
		return "", &valueError{what, urlReason}
	}
	return s, nil
}

func harmlessURL(s string) bool {
	end := strings.IndexAny(s, ":/?#")
	if end < 0 || s[end] != ':' {
		return true // no scheme
	}
	name := s[:end]
	switch {
	case harmlessSchemes[strings.ToLower(name)]:
		return true
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7F }):
		return false // a browser drops tabs and line breaks wherever they are
	case dataImage.MatchString(s), hostPort.MatchString(s):
		return true
	}
	return !scheme.MatchString(name) // then it is no scheme, but the beginning of a path
}

// srcset returns the value of a srcset attribute: URLs, each with its size behind it.
func srcset(what string, args ...any) (string, error) {
	var out []string
	list := sizeComma.ReplaceAllString(printed(args...), "$1, ")
	for each := range strings.SplitSeq(list, ", ") {
		words := strings.Fields(strings.TrimRight(each, ","))
		if len(words) == 0 {
			continue
		}
		if !harmlessURL(words[0]) {
			return "", &valueError{what, urlReason}
		}
		words[0] = normalURL(words[0])
		for _, size := range words[1:] {
			if !imageSize.MatchString(size) {
				return "", &valueError{what, srcsetReason}
			}
		}
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, ", "), nil
}

var (
	imageSize = regexp.MustCompile(`^\d+(?:\.\d+)?[wxh]$`)
	sizeComma = regexp.MustCompile(`(\s\d+(?:\.\d+)?[wxh]),`)
)

const srcsetReason = "is not a list of images and their sizes, such as https://example.com/a.png 2x"

const cssReason = "is not a CSS value that a message may hold: colours, sizes, names, quoted names " +
	"and functions such as rgb(…) are"

// cssFunctions are the functions of CSS that load and run nothing.
var cssFunctions = wordSet(`rgb rgba hsl hsla hwb lab lch oklab oklch color color-mix light-dark
	calc min max clamp var env
	linear-gradient radial-gradient conic-gradient repeating-linear-gradient repeating-radial-gradient
	translate translatex translatey translate3d scale scalex scaley rotate skew skewx skewy matrix cubic-bezier steps
	blur brightness contrast grayscale hue-rotate invert opacity saturate sepia drop-shadow minmax repeat fit-content`)

var (
	cssWord   = regexp.MustCompile(`^[A-Za-z_\x{A0}-\x{10FFFF}-][\w\x{A0}-\x{10FFFF}-]*`)
	cssString = regexp.MustCompile(`^(?:"[^"\\\x00-\x1F<>&]*"|'[^'\\\x00-\x1F<>&]*')`)
	cssPlain  = regexp.MustCompile(`^[\s0-9.,/*+:!=%#|&^$?~]`)
	cssDanger = regexp.MustCompile(`(?i)expression|binding|behaviou?r|javascript|vbscript|progid|` +
		`/\*|//|--(?:$|[^A-Za-z0-9_-])`)
)

// filterCSS returns a value of a CSS property without the blanks around it. It refuses what ends
// the value, and every function that is not known to be harmless.
func filterCSS(what string, args ...any) (string, error) {
	s := strings.TrimSpace(printed(args...))
	if !harmlessCSS(s) {
		return "", &valueError{what, cssReason}
	}
	return s, nil
}

func harmlessCSS(s string) bool {
	if cssDanger.MatchString(s) {
		return false
	}
	open := 0
	for s != "" {
		token := cssWord.FindString(s)
		switch {
		case strings.HasPrefix(s[len(token):], "("):
			if !cssFunctions[strings.ToLower(token)] && (token != "" || open == 0) {
				return false
			}
			token += "("
			open++
		case token != "":
		case s[0] == ')' && open > 0:
			token = ")"
			open--
		case s[0] == '"' || s[0] == '\'':
			token = cssString.FindString(s)
		default:
			token = cssPlain.FindString(s)
		}
		if token == "" {
			return false
		}
		s = s[len(token):]
	}
	return open == 0
}

// plainAttributes are the attributes whose name may come from a field. They load and run nothing.
var plainAttributes = wordSet(`abbr align alt axis bgcolor border cellpadding cellspacing char charoff charset
	checked class color cols colspan compact dir disabled face frame headers height hidden hspace id label
	lang name noshade nowrap open readonly reversed role rowspan rows rules scope selected shape size span
	start summary tabindex title translate type valign value vspace width wrap`)

// filterName returns the name of an attribute.
func filterName(what string, args ...any) (string, error) {
	s := strings.ToLower(strings.TrimSpace(printed(args...)))
	if !plainAttributes[s] && !ariaAttribute.MatchString(s) && !digitsOnly.MatchString(s) {
		return "", &valueError{what, "is not the name of a plain attribute, such as align or title"}
	}
	return s, nil
}

var (
	ariaAttribute = regexp.MustCompile(`^aria-[a-z]+$`)
	digitsOnly    = regexp.MustCompile(`^[0-9]+$`) // <h{{.level}}>
)

// escapeBare escapes the value of an attribute that has no quotes. empty is what an empty value is.
func escapeBare(what, empty string, args ...any) (string, error) {
	s := printed(args...)
	if s != "" {
		return bareEscapes.Replace(s), nil
	}
	switch empty {
	case emptyQuotes:
		return `""`, nil
	case emptyFails:
		return "", &valueError{what, "is empty, and the value of its attribute has no quotes: put them around it"}
	}
	return "", nil
}

var bareEscapes = strings.NewReplacer("\x00", "&#xfffd;", "\t", "&#9;", "\n", "&#10;", "\v", "&#11;",
	"\f", "&#12;", "\r", "&#13;", " ", "&#32;",
	`"`, "&#34;", "&", "&amp;", "'", "&#39;", "+", "&#43;", "<", "&lt;", "=", "&#61;", ">", "&gt;", "`", "&#96;")

// forComment keeps an escaped value from ending the comment that it stands in.
func forComment(value string) string { return strings.ReplaceAll(value, "-", "&#45;") }
