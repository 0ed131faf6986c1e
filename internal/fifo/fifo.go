// Package fifo has a cache of limited size that drops its oldest entries first.
package fifo

import (
	"slices"
	"sync"
)

// Cache keeps values by key while their sizes add up to no more than its limit. It is safe for
// concurrent use. An entry may disappear at any time: the caller must be able to make it again.
type Cache[K comparable, V any] struct {
	limit  int
	sizeOf func(V) int

	mu      sync.Mutex
	size    int
	entries map[K]V
	order   []K // oldest first
}

// New returns an empty cache. sizeOf returns the size of a value, which must not change.
func New[K comparable, V any](limit int, sizeOf func(V) int) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, sizeOf: sizeOf, entries: map[K]V{}}
}

// One is the size of each value in a cache whose limit is a number of values.
func One[V any](V) int { return 1 }

// Put adds a value, which replaces the value of the same key, and drops the oldest values if there
// is no room. A value that is larger than the cache is not added.
func (c *Cache[K, V]) Put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
	c.add(key, value)
}

// GetOrAdd returns the value of the key. If there is none, it adds the value that create returns.
// create runs under the lock of the cache.
func (c *Cache[K, V]) GetOrAdd(key K, create func() V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok := c.entries[key]
	if !ok {
		value = create()
		c.add(key, value)
	}
	return value
}

// Take removes the value of the key and returns it. It returns the zero value and false if there is
// none.
func (c *Cache[K, V]) Take(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remove(key)
}

// RemoveIf removes the value of the key if it matches.
func (c *Cache[K, V]) RemoveIf(key K, matches func(V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value, ok := c.entries[key]; ok && matches(value) {
		c.remove(key)
	}
}

// Len returns the number of values.
func (c *Cache[K, V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

func (c *Cache[K, V]) add(key K, value V) {
	size := c.sizeOf(value)
	if size > c.limit {
		return
	}
	for c.size+size > c.limit {
		c.remove(c.order[0])
	}
	c.entries[key] = value
	c.order = append(c.order, key)
	c.size += size
}

func (c *Cache[K, V]) remove(key K) (V, bool) {
	value, ok := c.entries[key]
	if ok {
		delete(c.entries, key)
		c.size -= c.sizeOf(value)
		i := slices.Index(c.order, key)
		c.order = slices.Delete(c.order, i, i+1)
	}
	return value, ok
}
