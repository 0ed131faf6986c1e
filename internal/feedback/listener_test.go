package feedback

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// failing is a listener of which each call of Accept returns the next error.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

func (f *failing) Close() error { return nil }

// A listener that ends would leave its worker without pages, or without mail that comes back, until
// somebody starts the worker again.
func TestAListenerOutlivesEveryErrorButItsEnd(t *testing.T) {
	t.Parallel()
	var errs []error
	for _, errno := range []syscall.Errno{syscall.ENOMEM, syscall.ENOBUFS, syscall.EMFILE, syscall.EPERM} {
		errs = append(errs, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)})
	}
	l := &failing{errs: append(errs, net.ErrClosed)}
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	err := new(http.Server).Serve(KeepAccepting(l, "the public listener", log)) // go-smtp asks the same of an error
	if !errors.Is(err, net.ErrClosed) || len(l.errs) > 0 {
		t.Errorf("the server ends with %v, before %v", err, l.errs)
	}
	const line = `msg="the public listener cannot accept connections, and tries again" error="cannot allocate memory"`
	if got := b.String(); !strings.Contains(got, line) || strings.Count(got, "\n") != 1 {
		t.Errorf("the log says %s", got)
	}
}
