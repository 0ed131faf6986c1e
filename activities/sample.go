package activities

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"directmailer/internal/audience/recipients"
	"directmailer/internal/content/page"
	"directmailer/internal/content/render"
	"directmailer/internal/ledger"
	"directmailer/workflows/policy"
)

// sampled checks, for a batch whose every recipient has failed, that at least one of the mailing's
// first recipients has a message. Otherwise the content is at fault, or a whole column, and the
// error has the type NothingRendered: nobody is to be failed for that.
func (a *Activities) sampled(
	ctx context.Context, r rendering, size int, failures []ledger.Failure,
) error {
	known := make(map[int32]string, len(failures))
	for _, f := range failures {
		known[f.Recipient] = f.Reason
	}
	reasons := map[string]int{}
	var others []int32
	for n := int32(1); n <= int32(size); n++ {
		if reason, ok := known[n]; ok {
			reasons[reason]++
		} else {
			others = append(others, n)
		}
	}
	rendered, err := a.renderOthers(ctx, r, others, reasons)
	if err != nil || rendered {
		return err
	}
	return failf(policy.NothingRendered, "none of the first %d recipients can be rendered: %s", size, mostOf(reasons))
}

// errRendered says that a recipient has a message.
var errRendered = errors.New("a recipient has a message")

// renderOthers renders recipients until one has a message, and counts the reasons of the others.
func (a *Activities) renderOthers(
	ctx context.Context, r rendering, numbers []int32, reasons map[string]int,
) (rendered bool, err error) {
	if len(numbers) == 0 {
		return false, nil
	}
	var others []recipients.Recipient
	err = a.recipients.Numbered(ctx, r.mailing.Key, numbers, func(to recipients.Recipient) error {
		others = append(others, to)
		return nil
	})
	if err != nil {
		return false, err
	}
	c := r.content
	renderer := c.Template.NewRenderer(ctx)
	try := func(i int, p render.Page, err error) error {
		to := recipient(c, others[i])
		to.Page = p
		if err == nil {
			_, _, err = renderer.Render(nil, to)
		}
		var unrendered *render.Problem
		var failed *page.Failure
		switch {
		case err == nil:
			return errRendered
		case errors.As(err, &unrendered), errors.As(err, &failed):
			reasons[err.Error()]++
			return nil
		}
		return err
	}
	if c.Pages != nil {
		locator := c.Pages.NewLocator(ctx)
		locate := func(i int) (*url.URL, error) { return locator.Locate(recipient(c, others[i])) }
		err = a.pages.Each(ctx, pagesOf(r), c.Pages, len(others), locate, try)
	} else {
		for i := range others {
			if err = try(i, render.Page{}, nil); err != nil {
				break
			}
		}
	}
	if errors.Is(err, errRendered) {
		return true, nil
	}
	return false, err
}

// mostOf returns the commonest reason, and how many others there are. A reason holds no recipient
// data.
func mostOf(reasons map[string]int) string {
	most := ""
	for reason, n := range reasons {
		if n > reasons[most] || n == reasons[most] && strings.Compare(reason, most) < 0 {
			most = reason
		}
	}
	switch others := len(reasons) - 1; others {
	case 0:
		return most
	case 1:
		return fmt.Sprintf("%s (%d of them), and one other reason", most, reasons[most])
	default:
		return fmt.Sprintf("%s (%d of them), and %d other reasons", most, reasons[most], others)
	}
}
