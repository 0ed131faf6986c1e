// Package signing holds the commands starter dkim new and starter dkim record.
package signing

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/address"
	"directmailer/internal/config"
	"directmailer/internal/content/dkim"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
)

// app makes the commands.
type app struct{ command.App }

// Command returns `starter dkim`.
func Command(shared command.App) *cobra.Command {
	a := &app{shared}
	cmd := command.Group(&cobra.Command{
		Use:   "dkim",
		Short: "Manage signing keys",
		Long: `Manages the keys that workers sign messages with (DKIM). Receivers verify a signature with a
public key in the DNS of the domain of From. DM_DKIM names the private keys for the workers.`,
		Example: "  starter dkim new news.example.com\n  starter dkim record news.example.com.rsa202611.pem",
	})
	cmd.AddCommand(a.newCommand(), a.recordCommand())
	return cmd
}

// answer is what both commands print.
type answer struct {
	Domain    string `json:"domain,omitempty"`
	Selector  string `json:"selector,omitempty"`
	Algorithm string `json:"algorithm"`
	Bits      int    `json:"bits,omitempty"` // of an RSA key
	File      string `json:"file"`
	Record    record `json:"record"`
	ZoneLine  string `json:"zone_line"`
	// Setting is the entry for DM_DKIM; empty if domain and selector are not known.
	Setting string `json:"dm_dkim,omitempty"`
}

type record struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

func newAnswer(e dkim.Entry, key *dkim.Key) answer {
	r := key.Record()
	found := answer{
		Domain: e.Domain, Selector: e.Selector, Algorithm: string(key.Algorithm), Bits: key.Bits, File: e.File,
		Record: record{r.Name, "TXT", r.Value}, ZoneLine: r.ZoneLine(),
	}
	if e.Domain != "" {
		found.Setting = e.Text()
	}
	return found
}

// answers describes the answer. Texts to copy are on lines of their own, which nothing wraps.
var answers = output.Record[answer]{
	Fields: func(f answer) []output.Field {
		kind := f.Algorithm
		if f.Bits > 0 {
			kind = fmt.Sprintf("%s, %d bits", kind, f.Bits)
		}
		return []output.Field{{Name: "key", Text: f.File}, {Name: "algorithm", Text: kind}}
	},
	Rest: func(w io.Writer, f answer) {
		fmt.Fprintf(w, "\nDNS record\n  name   %s\n  type   %s\n  value  %s\n", f.Record.Name, f.Record.Type, f.Record.Value)
		fmt.Fprintf(w, "\nAs a line of a zone file\n  %s\n", f.ZoneLine)
		if f.Setting != "" {
			fmt.Fprintf(w, "\nEntry of DM_DKIM\n  %s\n", f.Setting)
		}
	},
}

func (a *app) newCommand() *cobra.Command {
	algorithm := output.Choice{Value: string(dkim.RSA), Allowed: []string{string(dkim.RSA), string(dkim.Ed25519)}}
	var selector, file string
	cmd := &cobra.Command{
		Use:   "new DOMAIN",
		Short: "Generate a signing key for a domain",
		Long: `Generates a signing key for a domain, writes it to a file that only its owner may read, and
prints its DNS record and its entry of DM_DKIM. DOMAIN is the domain of From, or one above it. The
command replaces no file, and changes neither the DNS nor a worker.

Every receiver verifies RSA. Ed25519 costs a worker a small part of the time, and not every
receiver verifies it. A domain can have both keys: each message then gets two signatures.`,
		Example: `  starter dkim new news.example.com

  # a second key, beside the RSA key
  starter dkim new news.example.com --algorithm ed25519 --output-file /etc/dkim/ed25519.pem`,
		Args: command.Needs("the domain"),
	}
	cmd.Flags().Var(&algorithm, "algorithm", "algorithm: rsa (2048 bits) or ed25519")
	cmd.Flags().StringVar(&selector, "selector", "",
		"name of the key below the domain (default: algorithm, year and month, such as rsa202611)")
	cmd.Flags().StringVar(&file, "output-file", "", "new file for the key (default: DOMAIN.SELECTOR.pem)")
	_ = cmd.MarkFlagFilename("output-file", "pem")
	_ = cmd.RegisterFlagCompletionFunc("algorithm", algorithm.Complete)
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if selector == "" {
			selector = algorithm.Value + time.Now().Format("200601")
		}
		e, err := entry(args[0], selector)
		if err != nil {
			return err
		}
		if file == "" {
			file = e.Domain + "." + e.Selector + ".pem"
		}
		key, err := generate(&e, dkim.Algorithm(algorithm.Value), file)
		if err != nil {
			return err
		}
		return answers.Write(a.Out, format, newAnswer(e, key))
	}
	return cmd
}

// entry returns the entry of DM_DKIM for the domain and the selector, without a file.
func entry(domain, selector string) (e dkim.Entry, err error) {
	if e.Domain, err = address.ParseDomain(domain); err != nil {
		return e, exit.Usagef("%q is not a domain: write it as in news.example.com", output.Typed(domain))
	}
	if e.Selector, err = dkim.ParseSelector(selector); err != nil {
		return e, exit.Usagef("%q is not a selector: use letters, digits, - and dots, such as rsa202611",
			output.Typed(selector))
	}
	if err := e.Check(); err != nil {
		return e, exit.With(exit.BadInput, err)
	}
	return e, nil
}

// generate writes a new key to the file, whose full name it puts into e.
func generate(e *dkim.Entry, algorithm dkim.Algorithm, file string) (*dkim.Key, error) {
	var err error
	if e.File, err = filepath.Abs(file); err != nil {
		return nil, err
	}
	text, err := dkim.Generate(algorithm)
	if err != nil {
		return nil, err
	}
	key, err := dkim.ParseKey(text)
	if err != nil {
		return nil, err
	}
	key.Domain, key.Selector = e.Domain, e.Selector
	err = output.ToNewFile(file, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return nil, exit.Usagef("%s exists already, and a key is not replaced: choose another name with --output-file",
			output.Typed(file))
	}
	return key, command.FileFailure(err)
}

func (a *app) recordCommand() *cobra.Command {
	var domain, selector string
	cmd := &cobra.Command{
		Use:   "record FILE",
		Short: "Print the DNS record of a signing key",
		Long: `Prints the DNS record of a private key, and its entry of DM_DKIM. The command reads the key as a
worker does, and refuses what a worker refuses.

It takes the names of the domain and of the selector from the flags, else from the entry of DM_DKIM
that names the file. Without them it prints DOMAIN and SELECTOR in their place.`,
		Example: `  starter dkim record news.example.com.rsa202611.pem

  starter dkim record key.pem --domain news.example.com --selector rsa202611 --output json`,
		Args: command.Needs("the key's file"),
	}
	cmd.Flags().StringVar(&domain, "domain", "", "domain of the key")
	cmd.Flags().StringVar(&selector, "selector", "", "name of the key below the domain")
	format := output.AddFormat(cmd, "table", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		e, err := entryOf(args[0], domain, selector)
		if err != nil {
			return err
		}
		key, warning, err := dkim.ReadKey(args[0])
		if err != nil {
			return exit.Errorf(exit.BadInput, "the key %s: %w", output.Typed(args[0]), err)
		}
		if warning != "" {
			a.Say("starter: warning: the key %s: %s", output.Typed(args[0]), warning)
		}
		if key.Domain, key.Selector = e.Domain, e.Selector; e.Domain == "" {
			key.Domain, key.Selector = "DOMAIN", "SELECTOR"
		}
		return answers.Write(a.Out, format, newAnswer(e, key))
	}
	return cmd
}

// entryOf returns the entry that the flags describe, else the one of DM_DKIM for the file, else one
// that has only the file.
func entryOf(file, domain, selector string) (dkim.Entry, error) {
	full, err := filepath.Abs(file)
	if err != nil {
		return dkim.Entry{}, err
	}
	switch {
	case domain != "" && selector != "":
		e, err := entry(domain, selector)
		e.File = full
		return e, err
	case domain != "" || selector != "":
		return dkim.Entry{}, exit.Usagef("give both --domain and --selector, or neither")
	}
	if settings, err := config.LoadStarter(); err == nil { // other variables do not matter here
		for _, e := range settings.DKIM {
			if e.File == full {
				return e, nil
			}
		}
	}
	return dkim.Entry{File: full}, nil
}
