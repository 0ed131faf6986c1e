//go:build !unix

package smtp

import "net"

// peeker cannot look into a socket on this system. It reports that there may be something to read,
// and the caller has to try.
type peeker struct{}

func (*peeker) init(net.Conn) {}
func (*peeker) pending() bool { return true }
