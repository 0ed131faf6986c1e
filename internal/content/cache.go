package content

import (
	"slices"
	"sync"
)

// Cache keeps what was compiled for the latest maxContents mailings, by their IDs. An input never
// changes once it is in the database, so an entry is never stale. It is safe for concurrent use.
type Cache[T any] struct {
	mu    sync.Mutex
	byID  map[string]*entry[T]
	order []string // oldest first
}

// entry is what was compiled for one mailing, or is being compiled.
type entry[T any] struct{ get func() (T, error) }

const maxContents = 32

// NewCache returns an empty cache.
func NewCache[T any]() *Cache[T] { return &Cache[T]{byID: map[string]*entry[T]{}} }

// Get returns what compile returns for the mailing. A mailing is compiled once: whoever else asks for
// it waits for the same result. Nobody waits for the compilation of another mailing. After an error the
// next call compiles again.
func (c *Cache[T]) Get(id string, compile func() (T, error)) (T, error) {
	e := c.entry(id, compile)
	done := false
	defer func() { // also after a panic of compile
		if !done {
			c.forget(id, e)
		}
	}()
	v, err := e.get()
	done = err == nil
	return v, err
}

// entry finds or begins the mailing's entry. Only this happens under the lock.
func (c *Cache[T]) entry(id string, compile func() (T, error)) *entry[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.byID[id]; ok {
		return known
	}
	if len(c.order) == maxContents {
		delete(c.byID, c.order[0])
		c.order = c.order[1:]
	}
	e := &entry[T]{get: sync.OnceValues(compile)}
	c.byID[id] = e
	c.order = append(c.order, id)
	return e
}

// forget removes the entry, unless the mailing has another one by now.
func (c *Cache[T]) forget(id string, e *entry[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] == e {
		delete(c.byID, id)
		c.order = slices.DeleteFunc(c.order, func(other string) bool { return other == id })
	}
}
