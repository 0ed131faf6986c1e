package mailings_test

import (
	"bytes"
	"sync"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/mailings"
)

func TestAllWorkersGetTheSameSealKey(t *testing.T) {
	t.Parallel()
	s := storeOn(t, servertest.Database(t))
	keys := make([][]byte, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = s.SealKey(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range keys {
		if len(key) != 32 || !bytes.Equal(key, keys[0]) {
			t.Fatalf("got keys of %d octets, which differ: %t", len(key), !bytes.Equal(key, keys[0]))
		}
	}
	other, err := storeOn(t, servertest.Database(t)).SealKey(t.Context())
	if err != nil || bytes.Equal(other, keys[0]) {
		t.Errorf("another database has the same key: %t, %v", bytes.Equal(other, keys[0]), err)
	}
}

func storeOn(t *testing.T, url string) *mailings.Store {
	t.Helper()
	pool := servertest.Pool(t, url, 8)
	return mailings.New(pool)
}
