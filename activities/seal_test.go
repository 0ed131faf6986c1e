package activities

import (
	"testing"

	"directmailer/workflows"
)

func TestASealIsThatOfOneHandOver(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef0123456789abcdef")
	a := &Activities{}
	a.sealKey.Store(&key)
	call := workflows.SealCall{Mailing: "m", FirstRunID: "first", RunID: "run", Digest: "d"}
	seal, err := a.SealProgress(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	good := func(a *Activities, c workflows.SealCall, seal string) bool {
		ok, err := a.CheckSeal(t.Context(), workflows.SealCheck{SealCall: c, Seal: seal})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !good(a, call, seal) {
		t.Error("the seal itself is refused")
	}
	for name, change := range map[string]func(*workflows.SealCall){
		"mailing":   func(c *workflows.SealCall) { c.Mailing = "n" },
		"first run": func(c *workflows.SealCall) { c.FirstRunID = "second" },
		"run":       func(c *workflows.SealCall) { c.RunID = "" },
		"digest":    func(c *workflows.SealCall) { c.Digest = "e" },
	} {
		other := call
		if change(&other); good(a, other, seal) {
			t.Errorf("the seal holds for another %s", name)
		}
	}
	for _, typed := range []string{"", "zz", seal[:62], seal + "00"} {
		if good(a, call, typed) {
			t.Errorf("%q is accepted", typed)
		}
	}
	otherKey := []byte("another key another key another k")
	b := &Activities{}
	b.sealKey.Store(&otherKey)
	if good(b, call, seal) {
		t.Error("the seal of another key is accepted")
	}
}
