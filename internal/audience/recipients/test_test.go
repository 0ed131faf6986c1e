package recipients_test

import (
	"encoding/json"
	"errors"
	"testing"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/recipients"
)

// storeTest stores one recipient of a test.
func (f *fixture) storeTest(id string) {
	f.Helper()
	to, err := address.Parse("me@example.net")
	if err != nil {
		f.Fatal(err)
	}
	err = f.store.StoreTest(f.Context(), id, []recipients.TestRecipient{{Address: to, Attributes: json.RawMessage(`{}`)}})
	if err != nil {
		f.Fatal(err)
	}
}

// A starter that dies between storing and starting leaves recipients that nobody takes.
func TestTheNextTestDeletesTheRecipientsOfAnAbandonedOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, id := range []string{"test-abandoned", "test-waiting"} {
		f.storeTest(id)
		f.reserve(id)
	}
	f.exec(`UPDATE test_recipients SET added_at = now() - interval '25 hours' WHERE test = 'test-abandoned'`)
	f.exec(`UPDATE test_recipients SET added_at = now() - interval '23 hours' WHERE test = 'test-waiting'`)
	f.storeTest("test-next")
	if _, err := f.store.FreezeTest(t.Context(), "test-abandoned", 10); !errors.Is(err, recipients.ErrNoTest) {
		t.Errorf("the abandoned test: %v", err)
	}
	f.storeTest("test-yesterday")
	for range 2 { // the second time as after a crash
		if frozen, err := f.store.FreezeTest(t.Context(), "test-waiting", 10); err != nil || frozen.Recipients != 1 {
			t.Errorf("the test that waits for a worker: %+v, %v", frozen, err)
		}
	}
	f.want(f.strings(`SELECT DISTINCT test FROM test_recipients ORDER BY test`),
		[]string{"test-next", "test-yesterday"})
	if err := f.store.DropTest(t.Context(), "test-next"); err != nil {
		t.Fatal(err)
	}
	f.want(f.strings(`SELECT DISTINCT test FROM test_recipients`), []string{"test-yesterday"})
}
