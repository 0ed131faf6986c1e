package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
)

// Ports are chosen below those that systems give to outgoing connections (32768 and up on Linux, 49152 elsewhere). With one of those, a
// client that tries to connect again while the server is down can get the very port as its own, be connected to itself, and keep the
// server from coming back.
const (
	lowestPort = 15000
	portCount  = 17000
)

var handedOut sync.Map // ports, so that two servers started at the same time do not choose the same

// FreePort returns a port of the loopback that nobody listens on now. Somebody may take it before the server does: see taken.
func FreePort() (int, error) {
	for range 200 {
		port := lowestPort + rand.IntN(portCount)
		if _, used := handedOut.LoadOrStore(port, true); used {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

// taken tells whether a server could not start because of its port.
func taken(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "address already in use") || strings.Contains(text, "could not bind")
}
