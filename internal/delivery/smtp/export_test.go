package smtp

// Pipelining reports whether the server has listed PIPELINING.
func (c *Conn) Pipelining() bool { return c.ext.pipelining }

// Secure reports whether the connection is encrypted.
func (c *Conn) Secure() bool { return c.secure }
