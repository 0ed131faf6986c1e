package bounces

import (
	"context"
	"strconv"
	"time"

	"directmailer/starter/internal/mailfiles"
	"directmailer/starter/internal/output"
)

// maxShown is how many messages that were not understood are named.
const maxShown = 10

// placeOf names a message by its file, and by its place in it unless it is the first.
func placeOf(m mailfiles.Message) string {
	if m.Number == 1 {
		return output.Clean(m.File)
	}
	return output.Clean(m.File) + ", message " + strconv.Itoa(m.Number)
}

// sayUnknown names messages that a person should look at.
func (a *app) sayUnknown(places []string) {
	for _, place := range places[:min(len(places), maxShown)] {
		a.Say("%s: not understood: look at it yourself", place)
	}
	if more := len(places) - maxShown; more > 0 {
		a.Say("… and %s that were not understood", output.Count(more, "more message"))
	}
}

// showProgress shows a bar by octets, where the standard error is a terminal and the size is known.
func (a *app) showProgress(ctx context.Context, files *mailfiles.Reader) (stop func()) {
	columns, ok := output.Terminal(a.Err)
	if _, total := files.Done(); !ok || total == 0 {
		return func() {}
	}
	bar := output.NewByteBar(a.Err, columns, "messages")
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			bar.Set(files.Done())
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() {
		cancel()
		<-done
		bar.Set(files.Done())
		bar.Stop()
	}
}
