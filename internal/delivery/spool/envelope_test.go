package spool

import "testing"

// GatherDeferred copies messages from one blob to another with a single entry.
func TestAnEntryThatIsUsedAgainHasItsOwnEnvelope(t *testing.T) {
	t.Parallel()
	e, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	all := []Entry{
		{Recipient: 1, From: "a@example.com", To: "one@example.org", Data: []byte("1")},
		{Recipient: 2, From: "b@example.com", To: "two@example.org", UTF8: true, Data: []byte("22")},
		{Recipient: 3, From: "", To: "three@example.org", Data: []byte("333")},
	}
	for _, entry := range all {
		if err := e.Add(&entry); err != nil {
			t.Fatal(err)
		}
	}
	blob, err := e.Finish()
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Reset(blob); err != nil {
		t.Fatal(err)
	}
	var got Entry
	for _, want := range all {
		if err := r.Next(&got); err != nil {
			t.Fatal(err)
		}
		if got.Recipient != want.Recipient || got.From != want.From || got.To != want.To || got.UTF8 != want.UTF8 ||
			string(got.Data) != string(want.Data) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}
