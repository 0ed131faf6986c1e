package render

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/template/parse"
)

// mergeTags are the forms in which other systems write a field or a condition. Only what ordinary
// text rarely holds is here.
var mergeTags = sync.OnceValue(func() []*regexp.Regexp {
	return []*regexp.Regexp{
		// *|FNAME|* (Mailchimp)
		regexp.MustCompile(`\*\|[^|\n]{1,80}\|\*`),
		// %%first_name%%, %%=v(@name)=%% (Salesforce)
		regexp.MustCompile(`%%[^%\s][^%\n]{0,80}%%`),
		// [[name]], [[data:name]] (Mailjet)
		regexp.MustCompile(`\[\[[^\[\]\n]{1,80}\]\]`),
		// [%name%]
		regexp.MustCompile(`\[%[^%\n]{1,80}%\]`),
		// {% if x %} (Liquid, Jinja, Django, Twig)
		regexp.MustCompile(`\{%-?[ \t]*[a-z][^{}\n]{0,200}%\}`),
		// {# name #}
		regexp.MustCompile(`\{#[ \t]*\w[^{}\n]{0,80}#\}`),
		// {$name}, {!Contact.Name}, ${name}, {NAME}, {name|there}
		regexp.MustCompile(`\$?\{[$!]?[A-Za-z_][\w.-]{0,60}(?:[ \t]*[|:,][^{}\n]{0,80})?\}`),
		// <%= name %> (ERB, Adobe Campaign)
		regexp.MustCompile(`<%[=@-]?[^%\n]{1,200}%>`),
		// %FIRSTNAME%, %recipient.name%
		regexp.MustCompile(`%(?:[a-z]+(?:[._][a-z]+)+|[G-Z][A-Z0-9_]{2,60}|[A-F][G-Z_][A-Z0-9_]{1,60})%`),
		// [FIRST_NAME], [FNAME], [Name,fallback=]
		regexp.MustCompile(`\[(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+` +
			`|[FL]?NAME|FIRSTNAME|LASTNAME|SURNAME|EMAIL|COMPANY|CITY|UNSUBSCRIBE` +
			`|[Nn]ame,[^\[\]\n]{0,40}|(?i:first|last|full|user|company) ?name)\]`),
		// ##name##, @@name@@, #FIRST_NAME#
		regexp.MustCompile(`##[A-Za-z][\w.-]{0,60}##|@@[A-Za-z][\w.-]{0,60}@@|#[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+#`),
		// <<First Name>> (Word)
		regexp.MustCompile(`(?:<<|&lt;&lt;)[ \t]?[A-Za-z][\w .-]{0,60}(?:>>|&gt;&gt;)`),
	}
})

var codeElement = regexp.MustCompile(`(?is)<style\b.*?</style|<script\b.*?</script`)

// MergeTags returns a warning for each merge tag of another system in the headers and the bodies,
// with its place: such as *|FNAME|* or {% if x %}. It would be sent as it is. Every tag is reported
// once. Content that cannot be parsed has no warnings: [Compile] reports its problem.
func MergeTags(s Spec) []Problem {
	warnings := mergeTagsIn(FieldToName, s.ToName, false)
	warnings = append(warnings, mergeTagsIn(FieldSubject, s.Subject, false)...)
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		warnings = append(warnings, mergeTagsIn(FieldHeaders+"."+name, s.Headers[name], false)...)
	}
	warnings = append(warnings, mergeTagsIn(FieldText, s.Text, s.Static)...)
	if !s.Page {
		warnings = append(warnings, mergeTagsIn(FieldHTML, s.HTML, s.Static)...)
	}
	return warnings
}

// TagsIn returns what looks like merge tags in a text that readers see, and actions of templates
// that nobody has executed.
func TagsIn(text string) (tags []string) {
	if !strings.ContainsAny(text, "{[%|#@<") {
		return nil
	}
	for _, at := range tagsIn([]byte(text)) {
		tags = append(tags, text[at[0]:at[1]])
	}
	return append(tags, unexecuted.FindAllString(text, -1)...)
}

var unexecuted = regexp.MustCompile(`\{\{[^{}\n]{0,200}\}\}`)

func mergeTagsIn(field, text string, static bool) []Problem {
	authored := newTemplateText(text)
	searched := []byte(authored.original)
	if !static {
		searched = withoutActions(authored.original)
	}
	if field == FieldHTML {
		for _, at := range codeElement.FindAllIndex(searched, -1) {
			clear(searched[at[0]:at[1]])
		}
	}
	var warnings []Problem
	seen := map[string]bool{}
	for _, at := range tagsIn(searched) {
		tag := string(searched[at[0]:at[1]])
		if seen[tag] || strings.Contains(tag, "\x00") {
			continue
		}
		seen[tag] = true
		line, column := authored.at(at[0])
		warnings = append(warnings, Problem{Field: field, Line: line, Column: column, Message: fmt.Sprintf(
			"%q looks like a merge tag of another system and is sent as it is: a field is written {{.first_name}}",
			shorten(tag))})
	}
	return warnings
}

// tagsIn returns where the merge tags are, in their order. Of several that overlap it is the first,
// and the longest.
func tagsIn(text []byte) (tags [][]int) {
	var all [][]int
	for _, form := range mergeTags() {
		all = append(all, form.FindAllIndex(text, -1)...)
	}
	slices.SortFunc(all, func(a, b []int) int { return cmp.Or(a[0]-b[0], b[1]-a[1]) })
	end := 0
	for _, at := range all {
		if at[0] >= end {
			tags = append(tags, at)
			end = at[1]
		}
	}
	return tags
}

// withoutActions returns a template with NUL in the place of each octet of its actions.
func withoutActions(text string) []byte {
	tree := parse.New("")
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	out := make([]byte, len(text))
	if _, err := tree.Parse(text, "", "", trees); err != nil {
		return nil
	}
	for _, each := range trees {
		walk(root(each), func(n parse.Node) {
			if t, ok := n.(*parse.TextNode); ok && strings.HasPrefix(text[t.Pos:], string(t.Text)) {
				copy(out[t.Pos:], t.Text)
			}
		})
	}
	return out
}
