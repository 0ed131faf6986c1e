package droppoint

import (
	"sync"
	"time"
)

// takeIdle takes an idle connection that is alive into use, or returns nil.
func (d *DropPoint) takeIdle() rawConn {
	for {
		d.mu.Lock()
		n := len(d.idle)
		if n == 0 {
			d.mu.Unlock()
			return nil
		}
		c := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.inUse++
		d.mu.Unlock()
		if c.alive() {
			return c.rawConn
		}
		c.abort() // a server may close a connection between messages
		d.lost()
	}
}

// putIdle keeps a connection. It needs mu.
func (d *DropPoint) putIdle(c rawConn) {
	d.idle = append(d.idle, idleConn{c, time.Now()})
	if !d.timerIsSet {
		d.timerIsSet = true
		time.AfterFunc(maxIdle, d.closeExpired)
	}
}

// closeExpired closes connections that were idle for too long. It sets the timer for its next run
// while any connection is idle.
func (d *DropPoint) closeExpired() {
	d.closeIdle(maxIdle)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timerIsSet = len(d.idle) > 0; d.timerIsSet {
		time.AfterFunc(maxIdle/2, d.closeExpired)
	}
}

// close closes the idle connections, ends the opening of others, and makes Release close those in
// use.
func (d *DropPoint) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.closeIdle(0)
}

// closeIdle closes connections that were idle for at least olderThan. Each keeps its place until it
// is closed: the server counts it until then.
func (d *DropPoint) closeIdle(olderThan time.Duration) {
	d.mu.Lock()
	var expired, kept []idleConn
	for _, c := range d.idle {
		if time.Since(c.since) >= olderThan {
			expired = append(expired, c)
		} else {
			kept = append(kept, c)
		}
	}
	d.idle = kept
	d.inUse += len(expired)
	d.mu.Unlock()
	var closing sync.WaitGroup
	for _, c := range expired {
		closing.Go(func() {
			c.close()
			d.lost()
		})
	}
	closing.Wait()
}
