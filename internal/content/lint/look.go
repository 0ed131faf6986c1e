package lint

import (
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

const (
	white = "#ffffff"
	black = "#000000"
)

// look is how the text of an element looks, as far as its own and the outer elements' style
// attributes say. A style sheet is not read: where it may decide, the look is not known.
type look struct {
	gone       bool   // not displayed
	invisible  bool   // visibility: hidden
	size       int    // 0: the letters have no size
	color      string // "": not known
	background string // "": not known
}

func (s look) hidden() bool {
	return s.gone || s.invisible || s.size == 0 || s.color != "" && s.color == s.background
}

// of returns the look of an element within s.
func (s look) of(n *html.Node, styles bool) look {
	if attributeOf(n, "hidden") != nil {
		s.gone = true
	}
	if styles && (attributeOf(n, "class") != nil || attributeOf(n, "id") != nil || n.Data == "body" || n.Data == "a") {
		s.background, s.color = "", ""
	}
	if value := attributeOf(n, "bgcolor"); value != nil {
		s.background = colorOf(*value)
	}
	if value := attributeOf(n, "background"); value != nil {
		s.background = "" // an image
	}
	if value := attributeOf(n, "color"); value != nil && n.Data == "font" {
		s.color = colorOf(*value)
	}
	if style := attributeOf(n, "style"); style != nil {
		s.declare(*style)
	}
	return s
}

// declare applies the declarations of a style attribute.
func (s *look) declare(style string) {
	clipped, flat := false, false
	for declaration := range strings.SplitSeq(strings.ToLower(style), ";") {
		name, value, _ := strings.Cut(declaration, ":")
		value = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "!important"))
		switch name = strings.TrimSpace(name); name {
		case "display":
			s.gone = s.gone || value == "none"
		case "visibility":
			s.invisible = value == "hidden" || value == "collapse"
		case "opacity":
			n, err := strconv.ParseFloat(value, 64)
			s.gone = s.gone || err == nil && n == 0
		case "font-size":
			s.size = 1
			if isZero(value) {
				s.size = 0
			}
		case "max-height", "height", "max-width", "width":
			flat = flat || isZero(value)
		case "overflow":
			clipped = value == "hidden"
		case "text-indent":
			s.gone = s.gone || farAway.MatchString(value)
		case "color":
			s.color = colorOf(value)
		case "background-color":
			s.background = colorOf(value)
		case "background", "background-image":
			if value != "none" {
				s.background = colorOf(value) // "" for an image
			}
		}
	}
	s.gone = s.gone || clipped && flat
}

var farAway = regexp.MustCompile(`^-[0-9]{3,}(px|pt|em)?$`)

var zero = regexp.MustCompile(`^0*\.?0*(px|pt|em|rem|%|vh|vw)?$`)

func isZero(value string) bool {
	return strings.HasPrefix(value, "0") && zero.MatchString(value)
}

// colorOf returns a colour as #rrggbb, or "" if it is not one that is written plainly.
func colorOf(value string) string {
	value = strings.ToLower(strings.TrimSpace(value))
	switch value {
	case "white":
		return white
	case "black":
		return black
	}
	if !strings.HasPrefix(value, "#") {
		return ""
	}
	digits := value[1:]
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	if _, err := strconv.ParseUint(digits, 16, 32); err != nil || len(digits) != 6 {
		return ""
	}
	return "#" + digits
}
