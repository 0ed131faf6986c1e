package unsubscribe

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"
	"golang.org/x/text/language"
)

// Look is what the pages look like and say.
type Look struct {
	Brand     string
	Colours   Colours
	Languages []languageTexts // the first is for those whose language is not there
}

// Colours are the colours of a light and of a dark page.
type Colours struct {
	Light, Dark Palette
}

// Palette has the colours of one page, as #rrggbb.
type Palette struct {
	Background, Card, Text, Line, Accent string
	OnAccent                             string `yaml:"on_accent"`
}

// Texts are the texts of one language.
type Texts struct {
	Title, Question, This, All, Button string
	LeftTitle                          string `yaml:"left_title"`
	LeftThis                           string `yaml:"left_this"`
	LeftAll                            string `yaml:"left_all"`
	UndoHint                           string `yaml:"undo_hint"`
	Undo                               string
	UndoneTitle                        string `yaml:"undone_title"`
	Undone                             string
	FailedTitle                        string `yaml:"failed_title"`
	Failed                             string
}

type languageTexts struct {
	tag language.Tag
	Texts
}

// lookFile is a Look as a file has it.
type lookFile struct {
	Brand     string
	Colours   Colours
	Languages map[string]Texts
}

//go:embed texts.yaml
var builtInYAML []byte

var builtIn = sync.OnceValue(func() *Look {
	l, err := readLook(nil)
	if err != nil {
		panic(err)
	}
	return l
})

// maxLook is the size of the largest file of texts.
const maxLook = 256 << 10

// ReadLook reads a file of texts and colours over those that are built in. Each problem of it is
// one line of the error.
func ReadLook(path string) (*Look, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLook+1))
	if err == nil && len(data) > maxLook {
		err = errors.New("it is larger than 256 KiB")
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	return readLook(data)
}

func readLook(over []byte) (*Look, error) {
	file := lookFile{Languages: map[string]Texts{}}
	if err := yaml.Unmarshal(builtInYAML, &file); err != nil {
		return nil, err
	}
	own := lookFile{Brand: file.Brand, Colours: file.Colours}
	decoder := yaml.NewDecoder(bytes.NewReader(over))
	decoder.KnownFields(true)
	if err := decoder.Decode(&own); err != nil && err != io.EOF {
		return nil, err
	}
	problems := own.Colours.problems()
	for _, name := range slices.Sorted(maps.Keys(own.Languages)) {
		if _, err := language.Parse(name); err != nil {
			problems = append(problems, fmt.Errorf("languages: %q is not a language such as it or pt-BR", name))
			continue
		}
		t := own.Languages[name]
		problems = append(problems, complete(name, &t, file.Languages[name])...)
		file.Languages[name] = t
	}
	look := &Look{Brand: own.Brand, Colours: own.Colours}
	for name, texts := range file.Languages {
		look.Languages = append(look.Languages, languageTexts{language.Make(name), texts})
	}
	slices.SortFunc(look.Languages, func(a, b languageTexts) int {
		return strings.Compare(order(a.tag), order(b.tag))
	})
	return look, errors.Join(problems...)
}

// order puts English first: it is for those whose language is not there.
func order(tag language.Tag) string { return strings.Replace(tag.String(), "en", "", 1) }

// complete fills texts that a file leaves out from those that are built in. A language that is not
// built in needs all texts.
func complete(name string, t *Texts, builtIn Texts) (problems []error) {
	own, other := reflect.ValueOf(t).Elem(), reflect.ValueOf(builtIn)
	for i := range own.NumField() {
		if own.Field(i).String() == "" {
			own.Field(i).Set(other.Field(i))
		}
		if strings.TrimSpace(own.Field(i).String()) == "" {
			field := own.Type().Field(i)
			key := field.Tag.Get("yaml")
			if key == "" {
				key = strings.ToLower(field.Name)
			}
			problems = append(problems, fmt.Errorf("languages.%s.%s is missing", name, key))
		}
	}
	return problems
}

// minContrast is what people with weak eyes need of a text (WCAG 2.2, 1.4.3).
const minContrast = 4.5

var colour = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

func (c Colours) problems() (problems []error) {
	for _, p := range []struct {
		name string
		Palette
	}{{"colours.light", c.Light}, {"colours.dark", c.Dark}} {
		all := map[string]string{"background": p.Background, "card": p.Card, "text": p.Text, "line": p.Line,
			"accent": p.Accent, "on_accent": p.OnAccent}
		wrong := false
		for _, key := range slices.Sorted(maps.Keys(all)) {
			if !colour.MatchString(all[key]) {
				wrong = true
				problems = append(problems, fmt.Errorf("%s.%s is not a colour such as #0b5c66", p.name, key))
			}
		}
		for _, pair := range [][2]string{{"text", "card"}, {"accent", "card"}, {"on_accent", "accent"}} {
			if r := 0.0; !wrong {
				if r = contrast(all[pair[0]], all[pair[1]]); r < minContrast {
					problems = append(problems, fmt.Errorf("%s: %s on %s has a contrast of %.1f: choose colours with %.1f or "+
						"more, so that everybody can read them", p.name, pair[0], pair[1], r, minContrast))
				}
			}
		}
	}
	return problems
}

// contrast returns the contrast of two colours (WCAG 2.2), 1 to 21.
func contrast(a, b string) float64 {
	lighter, darker := luminance(a), luminance(b)
	if lighter < darker {
		lighter, darker = darker, lighter
	}
	return (lighter + 0.05) / (darker + 0.05)
}

func luminance(c string) (sum float64) {
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, _ := strconv.ParseUint(c[1+2*i:3+2*i], 16, 8)
		v := float64(n) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

// variables returns the colours for the style sheet.
func (l *Look) variables() string {
	return fmt.Sprintf(":root { color-scheme: light dark; %s }\n@media (prefers-color-scheme: dark) { :root { %s } }\n",
		l.Colours.Light.variables(), l.Colours.Dark.variables())
}

func (p Palette) variables() string {
	return fmt.Sprintf("--background: %s; --card: %s; --text: %s; --line: %s; --accent: %s; --on-accent: %s;",
		p.Background, p.Card, p.Text, p.Line, p.Accent, p.OnAccent)
}
