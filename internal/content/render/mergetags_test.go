package render

import (
	"strings"
	"testing"
	"time"
)

func TestMergeTagsOfOtherSystemsAreWarnedOf(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"*|FNAME|*", "*|IF:VIP|*", "%%first_name%%", "%%=v(@name)=%%", "[[name]]",
		"[[data:first_name:\"friend\"]]", "{$name}", "{$user.name|default:'x'}", "{% if vip %}", "{%- endif -%}",
		"{name}", "{FIRST_NAME}", "{first_name|there}", "${name}", "{!Contact.FirstName}", "<%= name %>", "%FIRSTNAME%",
		"%recipient.first_name%", "[FIRST_NAME]", "[FNAME]", "[Name,fallback=friend]", "[first name]", "##name##", "@@name@@",
		"#FIRST_NAME#",
		"<<First Name>>", "&lt;&lt;Name&gt;&gt;", "[%name%]", "{# name #}"} {
		for _, static := range []bool{false, true} {
			s := spec()
			s.Static = static
			s.Subject, s.Text = "Dear "+tag, "Dear\n é"+tag+" and "+tag+"\n"
			s.HTML = "<p>\n<!-- x -->" + tag + "</p><style>a{color:red}</style>"
			warnings := MergeTags(s)
			places := []string{
				"subject line 1, column 6: ",
				"content.text line 2, column 3: ",
				"content.html line 2, column 11: ",
			}
			if len(warnings) != len(places) {
				t.Errorf("%s: %v", tag, warnings)
				continue
			}
			for i, w := range warnings {
				if !strings.HasPrefix(w.Error(), places[i]) ||
					!strings.Contains(w.Message, "merge tag of another system") {
					t.Errorf("%s: %v", tag, w)
				}
			}
		}
	}
}

func TestOrdinaryContentHasNoMergeTags(t *testing.T) {
	t.Parallel()
	s := newsletter(t)
	s.Subject = "{{.first_name}}: 50% off, [NEWS] 100 %! [1] *|* {1} { a } $5 a@@b {"
	s.Text = "{{if eq .x \"*|FNAME|*\"}}{{.y}}{{end}} 50 %% and %% (see [2]) #1 {}\n" +
		"{{\"[[name]]\"}} https://example.com/%C3%84%20?a=%E2%82%AC#TOP <a@example.com> << {not a tag} 20%ABC"
	s.HTML += `<style>p{color:red} .a{b}</style><script type="application/ld+json">{"name":"x", y:{name}}</script>` +
		`<p style="a:b">{"json": 1}</p><!--[if mso]><p>x</p><![endif]-->` +
		`<a href="https://example.com/?q=%E2AB%20{{.x}}">x</a> «Bonjour»`
	for _, w := range MergeTags(s) {
		t.Error(w.Error())
	}
	s.HTML = "{{if .x}}[[name]]"
	if w := MergeTags(s); len(w) != 0 {
		t.Errorf("of a template that cannot be parsed: %v", w)
	}
}

func TestASearchForMergeTagsComesToAnEnd(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, piece := range []string{"*|A|* ", "{a", "[[", "%%a", "<%", "{% a", "##a"} {
		s := spec()
		s.HTML = strings.Repeat(piece, 20_000/len(piece))
		MergeTags(s)
	}
	if time.Since(start) > time.Minute {
		t.Error(time.Since(start))
	}
}
