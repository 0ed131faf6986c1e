package sample_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"directmailer/starter/internal/sample"
	"directmailer/workflows"
)

// trial returns a trial whose HTML fails where link is no web address.
func trial(t *testing.T) *sample.Trial {
	t.Helper()
	const html = `<a href="{{.link}}">x</a>{{if eq .name "Nr 0003"}}{{.gone}}{{end}}`
	one, err := sample.NewTrial(t.Context(), workflows.Input{
		ID: "m", From: "a@example.com", Subject: "Hi", List: "people",
		Content: workflows.Content{Text: "Hello {{.name}}", HTML: html},
	}, sample.Known{})
	if err != nil {
		t.Fatal(err)
	}
	return one
}

func TestEveryMemberOfAnAudienceIsRenderedOnceAndProblemsAreGrouped(t *testing.T) {
	t.Parallel()
	var done atomic.Int64
	const all = 20_000
	most := int64(0)
	got, err := trial(t).RenderAll(t.Context(), &done, func(add func(sample.Member) error) error {
		for n := 1; n <= all; n++ {
			link := "https://www.example.com/"
			if n%1000 == 0 {
				link = "javascript:" + fmt.Sprint(n) // the value is in no problem
			}
			err := add(sample.Member{Position: int64(n), Recipient: member(n, map[string]string{"link": link})})
			if err != nil {
				return err
			}
			most = max(most, int64(n)-done.Load())
		}
		return nil
	})
	if err != nil || got.Rendered != all || done.Load() != all || got.Failed != 21 || got.Largest < 300 {
		t.Errorf("%+v, %v", got, err)
	}
	if len(got.Reasons) != 2 || got.Reasons[0].Members != 20 || got.Reasons[1].Members != 1 {
		t.Fatalf("%+v", got.Reasons)
	}
	if want := []int64{1000, 2000, 3000, 4000, 5000}; !slices.Equal(got.Reasons[0].Examples, want) {
		t.Errorf("examples %v, want %v", got.Reasons[0].Examples, want)
	}
	if r := got.Reasons[1]; r.Line != 1 || !r.OfTemplate || !slices.Equal(r.Examples, []int64{3}) {
		t.Errorf("%+v", r)
	}
	if most > 5000 { // members that are read and not rendered yet are all that memory holds
		t.Errorf("%d members were in memory", most)
	}
}

func TestReadingThatFailsEndsTheRendering(t *testing.T) {
	t.Parallel()
	var done atomic.Int64
	failed := errors.New("the file ends in a cell")
	got, err := trial(t).RenderAll(t.Context(), &done, func(add func(sample.Member) error) error {
		for n := range 10 {
			if err := add(sample.Member{Position: int64(n), Recipient: member(n, nil)}); err != nil {
				return err
			}
		}
		return failed
	})
	if !errors.Is(err, failed) || got.Rendered > 10 {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = trial(t).RenderAll(ctx, &done, func(add func(sample.Member) error) error {
		for {
			if err := add(sample.Member{Recipient: member(1, nil)}); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// BenchmarkRenderAll renders members who are in memory already.
func BenchmarkRenderAll(b *testing.B) {
	one, err := sample.NewTrial(b.Context(), workflows.Input{
		ID: "m", From: "a@example.com", Subject: "Hi {{.name}}", List: "people",
		Content: workflows.Content{Text: "Hello {{.name}}"},
	}, sample.Known{})
	if err != nil {
		b.Fatal(err)
	}
	var done atomic.Int64
	n := 0
	_, err = one.RenderAll(b.Context(), &done, func(add func(sample.Member) error) error {
		for b.Loop() {
			n++
			if err := add(sample.Member{Position: int64(n), Recipient: member(n, nil)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || done.Load() != int64(n) {
		b.Error(done.Load(), err)
	}
}
