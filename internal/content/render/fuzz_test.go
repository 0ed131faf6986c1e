package render

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"directmailer/internal/audience/field"
)

// Limits of one input of the fuzz test. What takes a second on a free machine may take ten there:
// all of its processes fuzz.
const (
	fuzzTime   = 2 * time.Minute
	fuzzMemory = 700 << 20
)

// FuzzBudget compiles and renders what any author and any recipient might give, within limits of
// memory and time of each input. A crash of the process fails it, too.
func FuzzBudget(f *testing.F) {
	for _, a := range attacks() {
		if body := a.spec.Text + a.spec.HTML; len(body) < 4000 {
			f.Add(body, body, "a value")
		}
	}
	f.Add(`{{range .x}}{{template "a" .}}{{end}}{{define "a"}}<a href="{{.}}">{{end}}`, "{{.x | js}}", "1,2,3")
	f.Fuzz(func(t *testing.T, html, text, value string) {
		most := watchFuzz(t, html)
		s := Spec{Mailing: "m", From: "a@example.com", Subject: "s", Date: day, HTML: html, Text: text}
		template, problems := Compile(s)
		if len(problems) == 0 {
			to := Recipient{Number: 1, Address: "anna@example.org", Attributes: field.Values{
				"x": {Text: value}, "y": {Kind: field.JSON, Text: "[1, {\"a\": \"b\"}]"}}}
			r := template.NewRenderer(t.Context())
			r.budget.most = fewSteps
			_, _, err := r.Render(nil, to)
			var problem *Problem
			if err != nil && !errors.As(err, &problem) {
				t.Errorf("not a problem of the recipient: %v", err)
			}
		}
		_ = textOfPage([]byte(html))
		most()
	})
}

// watchFuzz panics when an input takes too long or too much memory. The function that it returns
// ends the watch.
func watchFuzz(t *testing.T, input string) (end func()) {
	t.Helper()
	before := memoryInUse()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		began := time.Now()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if took := time.Since(began); took > fuzzTime {
					panic(fmt.Sprintf("%.200q takes %s", input, took))
				}
				if used := memoryInUse(); used > before+fuzzMemory {
					panic(fmt.Sprintf("%.200q takes %d MiB", input, (used-before)>>20))
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}
