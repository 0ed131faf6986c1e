package content

import (
	"sync"

	"directmailer/internal/fifo"
)

// Cache keeps what was compiled for the latest maxContents mailings, by their IDs. An input does
// not change once it is in the database, so an entry is never stale. It is safe for concurrent use.
type Cache[T any] struct {
	entries *fifo.Cache[string, *entry[T]]
}

// entry is what was compiled for one mailing, or is being compiled.
type entry[T any] struct{ get func() (T, error) }

const maxContents = 32

// NewCache returns an empty cache.
func NewCache[T any]() *Cache[T] {
	return &Cache[T]{entries: fifo.New[string](maxContents, fifo.One[*entry[T]])}
}

// Get returns what compile returns for the mailing. A mailing is compiled once: other callers for
// the same mailing wait for that result. No caller waits for the compilation of another mailing.
// After an error, the next call compiles again.
func (c *Cache[T]) Get(id string, compile func() (T, error)) (T, error) {
	e := c.entries.GetOrAdd(id, func() *entry[T] { return &entry[T]{get: sync.OnceValues(compile)} })
	done := false
	defer func() { // also after a panic of compile
		if !done { // unless the mailing has another entry by now
			c.entries.RemoveIf(id, func(other *entry[T]) bool { return other == e })
		}
	}()
	v, err := e.get()
	done = err == nil
	return v, err
}
