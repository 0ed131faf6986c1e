package servertest

import (
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
)

// Muted is a proxy of a Temporal that can keep back the answers to heartbeats, as a Temporal does
// that is overloaded. Temporal itself gets all heartbeats. It is safe for concurrent use.
type Muted struct {
	Address string

	mu     sync.Mutex
	muted  bool
	left   int
	gaveUp chan struct{} // closed when left is 0
}

// MutedTemporal serves the Temporal at the address. It answers everything until Mute is called.
func MutedTemporal(t testing.TB, address string) *Muted {
	t.Helper()
	m := &Muted{}
	m.Address = serveProxy(t, address, m.handle)
	return m
}

func (m *Muted) handle(client grpc.ServerStream, server *grpc.ClientConn, method string) error {
	m.mu.Lock()
	muted := m.muted && strings.Contains(method, "RecordActivityTaskHeartbeat")
	m.mu.Unlock()
	if !muted {
		return forward(client, server, method)
	}
	if _, err := call(client, server, method); err != nil {
		return err
	}
	<-client.Context().Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left == 0 {
		close(m.gaveUp)
	}
	return client.Context().Err()
}

// Mute keeps the answers to heartbeats back from now on. The channel is closed when clients have
// given up to wait for so many of them.
func (m *Muted) Mute(heartbeats int) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.muted, m.left, m.gaveUp = true, heartbeats, make(chan struct{})
	return m.gaveUp
}

// Unmute lets answers through again.
func (m *Muted) Unmute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.muted = false
}
