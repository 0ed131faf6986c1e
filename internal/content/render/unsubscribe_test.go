package render

import (
	"bytes"
	"strings"
	"testing"

	"directmailer/internal/audience/field"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token/tokentest"
)

// links returns the links of a mailing with a public URL and a bounce domain.
func links(t testing.TB) *feedback.Links {
	t.Helper()
	s := feedback.Settings{Keys: tokentest.Keys(t, "k"), PublicURL: "https://mail.example.com",
		BounceDomain: "b.example.com"}
	l, err := s.Links(7, s.Marks())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEachMessageHasTheUnsubscribeLinkOfItsRecipient(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Unsubscribe = links(t)
	s.Text = "Leave: {{.unsubscribe_url}}"
	s.HTML = `<p>Hi {{.first_name}}</p><a href="{{.unsubscribe_url}}">Leave</a>`
	for _, number := range []int32{1, 70_000} {
		link := s.Unsubscribe.UnsubscribeURL(number)
		raw, m := render(t, s, Recipient{Number: number, Address: "a@example.org",
			Attributes: field.Texts(map[string]string{"first_name": "Ann", "unsubscribe_url": "https://old.example"})})
		want := "<" + link + ">, <mailto:" + s.Unsubscribe.UnsubscribeAddress(number) + "?subject=unsubscribe>"
		if got := m.GetHeader("List-Unsubscribe"); got != want {
			t.Errorf("List-Unsubscribe is %q, want %q", got, want)
		}
		if got := m.GetHeader("List-Unsubscribe-Post"); got != "List-Unsubscribe=One-Click" {
			t.Errorf("List-Unsubscribe-Post is %q", got)
		}
		if !strings.Contains(m.Text, "Leave: "+link) || !strings.Contains(m.HTML, `href="`+link+`"`) ||
			bytes.Contains(raw, []byte("old.example")) {
			t.Errorf("the link is not in the bodies, or the column is:\n%s\n%s", m.Text, m.HTML)
		}
	}
}

func TestTheLinkNeedsNoColumnAndIsInATextThatIsMadeFromHTML(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Unsubscribe, s.Subject, s.Text, s.HTML = links(t), "Hello", "", `<p>Hi</p><a href="{{.unsubscribe_url}}">Leave</a>`
	c := mustCompile(t, s)
	if fields := c.Fields(); fields == nil || len(fields) > 0 {
		t.Errorf("the template needs the columns %q", fields)
	}
	_, m := render(t, s, Recipient{Number: 3, Address: "a@example.org"})
	if link := s.Unsubscribe.UnsubscribeURL(3); !strings.Contains(m.Text, link) {
		t.Errorf("the text is %q", m.Text)
	}
}

func TestWithoutUnsubscribeThereIsNoHeaderAndTheColumnCounts(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Text, s.HTML = "Leave: {{.unsubscribe_url}}", ""
	_, m := render(t, s, Recipient{Number: 3, Address: "a@example.org",
		Attributes: field.Texts(map[string]string{"first_name": "Ann", "unsubscribe_url": "https://own.example"})})
	if m.GetHeader("List-Unsubscribe") != "" || m.GetHeader("List-Unsubscribe-Post") != "" ||
		!strings.Contains(m.Text, "https://own.example") {
		t.Errorf("got %q, %s", m.GetHeader("List-Unsubscribe"), m.Text)
	}
}

func TestASubjectIsNoPlaceForTheLink(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Unsubscribe, s.Subject = links(t), "Hello {{.unsubscribe_url}}"
	_, problems := Compile(s)
	if len(problems) != 1 || problems[0].Field != FieldSubject {
		t.Errorf("got %v", problems)
	}
}

func TestAPageNamesTheLinkByAPlaceholder(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Unsubscribe, s.Page, s.Text, s.HTML = links(t), true, "", ""
	page := []byte(`<a href="{{.unsubscribe_url}}">a</a><a href="%7B%7B.unsubscribe_url%7d%7D">b</a>` +
		`<p>{{ .unsubscribe_url }} {{.other}}</p>`)
	before := bytes.Clone(page)
	_, m := render(t, s, Recipient{Number: 3, Address: "a@example.org", Page: Page{HTML: page},
		Attributes: field.Texts(map[string]string{"first_name": "Ann"})})
	link := s.Unsubscribe.UnsubscribeURL(3)
	want := `<a href="` + link + `">a</a><a href="` + link + `">b</a><p>` + link + ` {{.other}}</p>`
	if strings.TrimSpace(m.HTML) != want || !bytes.Equal(page, before) {
		t.Errorf("got %s, and the page is %s", m.HTML, page)
	}
	_, m = render(t, s, Recipient{Number: 3, Address: "a@example.org", Page: Page{Text: []byte("{{.unsubscribe_url}}\n")},
		Attributes: field.Texts(map[string]string{"first_name": "Ann"})})
	if strings.TrimSpace(m.Text) != link {
		t.Errorf("a page of text: %s", m.Text)
	}
	s.Unsubscribe = nil
	_, m = render(t, s, Recipient{Number: 3, Address: "a@example.org", Page: Page{HTML: page},
		Attributes: field.Texts(map[string]string{"first_name": "Ann"})})
	if strings.TrimSpace(m.HTML) != string(before) {
		t.Errorf("without links: %s", m.HTML)
	}
}
