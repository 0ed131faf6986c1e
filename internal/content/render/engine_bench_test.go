package render

import (
	"strings"
	"testing"

	"directmailer/internal/audience/field"
)

// BenchmarkEngine is a newsletter with loops, helpers and comparisons, which the quick templates
// leave to Go's engine.
func BenchmarkEngine(b *testing.B) {
	s := newsletter(b)
	item := `{{range .items}}<tr><td title="{{.name}}">{{.name | upper}}</td><td>{{if gt .price 10}}` +
		`{{printf "%.2f" .price}}{{else}}cheap{{end}}</td><td>` +
		`<a href="https://example.com/i?u={{.code}}&amp;n={{.name}}">more</a></td></tr>` + "\n{{end}}"
	s.HTML = strings.Replace(s.HTML, "<!-- items -->", item, 1)
	to := reader(1, "zoe@example.org", "Zoë", "Łódź", "gold")
	items := strings.TrimSuffix(strings.Repeat(`{"name": "A & B", "price": 12.50, "code": "x-1"},`, 20), ",")
	to.Attributes["items"] = field.Value{Kind: field.JSON, Text: "[" + items + "]"}
	r := mustCompile(b, s).NewRenderer(b.Context())
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, _, err = r.Render(buf[:0], to); err != nil {
			b.Fatal(err)
		}
		r.budget.batch = maxBatchSteps
	}
}
