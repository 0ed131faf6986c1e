package temporalclient_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// headers counts the calls that a server gets, and those whose request is compressed.
type headers struct{ calls, compressed atomic.Int64 }

var _ stats.Handler = (*headers)(nil)

func (*headers) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*headers) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*headers) HandleConn(context.Context, stats.ConnStats)                       {}

func (h *headers) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InHeader); ok {
		h.calls.Add(1)
		if in.Compression != "" {
			h.compressed.Add(1)
		}
	}
}

// To compress a call costs more processor time than all the rest of it: workers send thousands that
// have a few hundred octets.
func TestCallsAreNotCompressed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var got headers
	s := grpc.NewServer(grpc.StatsHandler(&got))
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(s.Stop)
	_, _ = dial(t, listener.Addr().String(), "default") // fails after its first call: the server has no method
	if got.calls.Load() == 0 || got.compressed.Load() > 0 {
		t.Errorf("%d of %d calls are compressed", got.compressed.Load(), got.calls.Load())
	}
}
