package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
)

// Ports are below those of outgoing connections (32768 and up on Linux, 49152 elsewhere). A client
// that connects again while the server is down could get the port of the server as its own. It
// would then be connected to itself, and the server could not listen again.
const (
	lowestPort = 15000
	portCount  = 17000
	// ownPorts is how many of them a process tries first, by its PID. So another process seldom takes
	// the port of a server that is about to start, or to start again.
	ownPorts = 1000
)

var handedOut sync.Map // ports that FreePort has returned

// FreePort returns a port of the loopback that nobody listens on now. It returns no port twice in
// one process. Another process may take the port before the server does: see taken.
func FreePort() (int, error) {
	for try := range 200 {
		port := lowestPort + os.Getpid()%(portCount/ownPorts)*ownPorts + rand.IntN(ownPorts)
		if try >= 100 {
			port = lowestPort + rand.IntN(portCount)
		}
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

// taken reports whether a server could not start because another process has its port.
func taken(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "address already in use") || strings.Contains(text, "could not bind")
}
