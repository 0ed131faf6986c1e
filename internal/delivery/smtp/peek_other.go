//go:build !unix

package smtp

import "net"

// peeker cannot look at a socket here: the reader has to try, which takes a moment.
type peeker struct{}

func (*peeker) init(net.Conn) {}
func (*peeker) pending() bool { return true }
