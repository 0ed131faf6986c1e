package start

import (
	"context"

	"directmailer/internal/audience/address"
	"directmailer/internal/content/dkim"
	"directmailer/internal/senderdomain"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/sample"
)

// newTrial compiles the content of a mailing with the keys and the public URL of this shell.
func newTrial(ctx context.Context, p plan) (*sample.Trial, error) {
	entries, err := keyEntries(p)
	if err != nil {
		return nil, err
	}
	c, err := command.Settings()
	if err != nil {
		return nil, err
	}
	known := sample.Known{Feedback: c.Feedback()}
	keys, _, err := entries.Load()
	if known.Keys = keys; err != nil { // the workers may be able to read them
		known.Keys, known.KeysNotRead = dkim.Keys{}, true
	}
	return sample.NewTrial(ctx, p.in, known)
}

// keyEntries returns the entries of this shell's DM_DKIM that sign the mailing.
func keyEntries(p plan) (dkim.Entries, error) {
	c, err := command.Settings()
	if err != nil {
		return nil, err
	}
	from, err := address.ParseMailbox(p.in.From)
	if err != nil {
		return nil, err // the plan is checked already
	}
	return c.DKIM.For(from.Address.Domain()), nil
}

// publicKeys returns the public keys that sign the mailing. Where this shell cannot read a key, it
// returns the name of the key's record.
func publicKeys(p plan) ([]senderdomain.Key, error) {
	entries, err := keyEntries(p)
	if err != nil {
		return nil, err
	}
	var all []senderdomain.Key
	for _, entry := range entries {
		k := senderdomain.Key{Domain: entry.Domain, Selector: entry.Selector}
		if loaded, _, err := (dkim.Entries{entry}).Load(); err == nil {
			key := loaded.For(entry.Domain).Keys()[0]
			k.Algorithm, k.Public = string(key.Algorithm), key.Public
		}
		all = append(all, k)
	}
	return all, nil
}
