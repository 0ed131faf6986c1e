// Package output writes the answers of commands: as tables for people, as JSON for programs, to the
// standard output or to a file.
package output

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

// Choice is a flag with a few possible values.
type Choice struct {
	Value   string
	Allowed []string
}

// String returns the value, as package pflag wants it.
func (c *Choice) String() string { return c.Value }

// Type names the kind of value in help texts.
func (c *Choice) Type() string { return strings.Join(c.Allowed, "|") }

// Set takes one of the allowed values.
func (c *Choice) Set(s string) error {
	for _, v := range c.Allowed {
		if s == v {
			c.Value = s
			return nil
		}
	}
	return errors.New("must be " + OneOf(c.Allowed))
}

// Complete completes the flag's value in a shell.
func (c *Choice) Complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return c.Allowed, cobra.ShellCompDirectiveNoFileComp
}

// OneOf joins alternatives for a text: "table or json", "one of sent, bounced, failed".
func OneOf(all []string) string {
	if len(all) > 2 {
		return "one of " + strings.Join(all, ", ")
	}
	return strings.Join(all, " or ")
}

// Format is the value of --output.
type Format struct{ Choice }

// AddFormat gives a command the flag --output with these formats. The first is the default.
func AddFormat(cmd *cobra.Command, formats ...string) *Format {
	f := &Format{Choice{formats[0], formats}}
	cmd.Flags().VarP(f, "output", "o", "format of the answer: "+OneOf(formats))
	_ = cmd.RegisterFlagCompletionFunc("output", f.Complete)
	return f
}

// JSON tells whether the answer is wanted as JSON.
func (f *Format) JSON() bool { return f.Value == "json" }
