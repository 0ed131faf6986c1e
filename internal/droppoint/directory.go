package droppoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"directmailer/internal/smtp"
)

// directory is a drop directory.
type directory struct{ path string }

// open looks whether files can be written, so that a directory that is not there is known before a message is begun.
func (d *directory) open(context.Context) (connection, error) {
	info, err := os.Stat(d.path)
	if err == nil && !info.IsDir() {
		err = errors.New("is not a directory")
	}
	if err != nil {
		return nil, d.unavailable("open the drop directory", err)
	}
	f, err := os.CreateTemp(d.path, ".check-*")
	if err != nil {
		return nil, d.unavailable("write into the drop directory", err)
	}
	_ = f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, d.unavailable("write into the drop directory", err)
	}
	return &dirConnection{directory: d}, nil
}

func (d *directory) unavailable(doing string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // the path is the drop point's, or a file's name
	}
	return &smtp.ConnError{Phase: smtp.Phase(doing), Cause: err}
}

type dirConnection struct {
	*directory
	aside, final string // of the message that has begun
	count        int
}

// begin writes the message aside, and syncs it.
func (c *dirConnection) begin(_ context.Context, m *Message) error {
	if m.Name == "" || m.Name != filepath.Base(m.Name) || strings.HasPrefix(m.Name, ".") || strings.ContainsAny(m.Name, "/\\\x00") {
		return c.unavailable("name the message's file", errors.New("not a plain file name"))
	}
	if strings.ContainsAny(m.From+m.To, "\r\n") {
		return &smtp.Refusal{Phase: smtp.PhaseRcpt, Reply: smtp.Reply{Code: 553, Enhanced: smtp.EnhancedCode{5, 1, 3}, Text: "the address has a line break"}}
	}
	c.count++
	c.aside, c.final = filepath.Join(c.path, "."+m.Name+".part"), filepath.Join(c.path, m.Name+".eml")
	f, err := os.OpenFile(c.aside, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return c.unavailable("write a message", err)
	}
	_, err = fmt.Fprintf(f, "X-Sender: <%s>\r\nX-Receiver: <%s>\r\n", m.From, m.To)
	if err == nil {
		_, err = f.Write(m.Data)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(c.aside)
		return c.unavailable("write a message", err)
	}
	return nil
}

// finish makes the message visible, durably. A rename that fails has not happened; one that cannot be synced is uncertain.
func (c *dirConnection) finish(*Message) (Answer, error) {
	if err := os.Rename(c.aside, c.final); err != nil {
		return Answer{}, c.unavailable("rename a message", err)
	}
	c.aside = ""
	if err := syncDir(c.path); err != nil {
		return Answer{}, &smtp.ConnError{Phase: "sync the drop directory", Cause: err, Uncertain: true}
	}
	return Answer{Text: filepath.Base(c.final)}, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (c *dirConnection) announces() bool { return false }
func (c *dirConnection) alive() bool     { return true }
func (c *dirConnection) used() int       { return c.count }
func (c *dirConnection) close()          {}

func (c *dirConnection) abort() {
	if c.aside != "" {
		_ = os.Remove(c.aside)
	}
}
