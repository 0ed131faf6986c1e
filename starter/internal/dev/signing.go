//go:build unix

package dev

import (
	"io"
	"path/filepath"

	"directmailer/internal/content/dkim"
)

// demoDomain is the domain of From in the sample mailing. demoKey is the name of its key's file in
// the demo's folder.
const demoDomain, demoKey = "harbour-hill.example", "dkim.pem"

// sign makes the worker of this process sign the sample mailing. The key is made once: a mailing
// that was interrupted goes on with the same.
func (d *Demo) sign() error {
	e := dkim.Entry{Domain: demoDomain, Selector: "demo", File: filepath.Join(d.dir, demoKey)}
	err := makeOnce(e.File, func(w io.Writer) error {
		text, err := dkim.Generate(dkim.Ed25519)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	})
	if err != nil {
		return err
	}
	return d.stack.export("DM_DKIM", e.Text())
}
