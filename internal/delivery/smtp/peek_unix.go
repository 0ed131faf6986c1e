//go:build unix

package smtp

import (
	"net"
	"syscall"
)

// peeker looks whether a socket has something to read. It neither waits nor takes anything.
type peeker struct {
	conn  syscall.RawConn
	look  func(fd uintptr) bool
	found bool
	buf   [1]byte
}

func (p *peeker) init(nc net.Conn) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	conn, err := sc.SyscallConn()
	if err != nil {
		return
	}
	p.conn = conn
	p.look = func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), p.buf[:], syscall.MSG_PEEK) // the socket does not block
		p.found = err != syscall.EAGAIN && err != syscall.EINTR
		return true
	}
}

// pending reports whether there is something to read: data, the end of the connection, or an error.
func (p *peeker) pending() bool {
	if p.conn == nil {
		return true
	}
	p.found = true
	if err := p.conn.Read(p.look); err != nil {
		return true
	}
	return p.found
}
