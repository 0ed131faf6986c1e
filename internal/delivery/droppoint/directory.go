package droppoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"directmailer/internal/delivery/smtp"
)

// Names of files that are not yet messages. No two lanes, of this worker or another, ever have the same one: a worker that was cut off
// and wakes up can make visible only what it has written itself, whole.
const asidePrefix, asideSuffix = ".dm-", ".part"

// leftAfter is the age at which a file written aside can only be a dead worker's. (If it is not, its message fails before it is visible.)
const leftAfter = time.Hour

// directory is a drop directory.
type directory struct {
	path  string
	sweep sync.Once
	files files
}

// files holds the steps that make a message visible and durable, in the order write, sync (file),
// rename, sync (folder). Tests record them, or let them fail.
type files struct {
	write  func(f *os.File, data []byte) (int, error)
	sync   func(f *os.File) error // of a file or a folder
	rename func(from, to string) error
}

var realFiles = files{write: (*os.File).Write, sync: (*os.File).Sync, rename: os.Rename}

// open looks whether files can be written, and the directory synced, so that a directory that is
// not there, or cannot promise to keep a message, is known before a message is begun.
func (d *directory) open(context.Context) (connection, error) {
	info, err := os.Stat(d.path)
	if err == nil && !info.IsDir() {
		err = errors.New("is not a directory")
	}
	if err != nil {
		return nil, d.unavailable("open the drop directory", err)
	}
	f, err := os.CreateTemp(d.path, asidePrefix+"*"+asideSuffix)
	if err != nil {
		return nil, d.unavailable("write into the drop directory", err)
	}
	_, err = d.files.write(f, []byte("can this be written?\r\n"))
	if err == nil {
		err = d.files.sync(f)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if removeErr := os.Remove(f.Name()); err == nil {
		err = removeErr
	}
	if err != nil {
		return nil, d.unavailable("write into the drop directory", err)
	}
	if err := d.syncFolder(); err != nil {
		return nil, d.unavailable("sync the drop directory", err)
	}
	d.sweep.Do(d.removeLeft)
	return &dirConnection{directory: d, aside: f.Name()}, nil
}

// removeLeft removes what dead workers have left: at most one file for each of their lanes. That it fails does no harm.
func (d *directory) removeLeft() {
	dir, err := os.Open(d.path)
	if err != nil {
		return
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if !strings.HasPrefix(name, asidePrefix) || !strings.HasSuffix(name, asideSuffix) {
				continue
			}
			path := filepath.Join(d.path, name)
			if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > leftAfter {
				_ = os.Remove(path)
			}
		}
		if err != nil {
			return
		}
	}
}

func (d *directory) unavailable(doing string, err error) error {
	return &smtp.ConnError{Phase: smtp.Phase(doing), Cause: withoutPath(err)}
}

func (d *directory) uncertain(doing string, err error) error {
	return &smtp.ConnError{Phase: smtp.Phase(doing), Cause: withoutPath(err), Uncertain: true}
}

// withoutPath leaves out where: the path is the drop point's, or a file's name.
func withoutPath(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// maxName leaves room for the suffix in the 255 octets that file systems allow.
const maxName = 200

type dirConnection struct {
	*directory
	aside   string // the lane's own
	final   string // of the message that has begun
	written fs.FileInfo
	head    []byte
	count   int
}

// begin writes the message aside, and syncs it.
func (c *dirConnection) begin(ctx context.Context, m *Message) error {
	c.abort() // what was begun and not finished
	if err := ctx.Err(); err != nil {
		return c.unavailable("write a message", err)
	}
	if m.Name == "" || len(m.Name) > maxName || m.Name != filepath.Base(m.Name) || strings.HasPrefix(m.Name, ".") ||
		strings.Contains(m.Name, `\`) || strings.ContainsFunc(m.Name, unicode.IsControl) {
		return c.unavailable("name the message's file", errors.New("not a plain file name"))
	}
	if m.To == "" || !utf8.ValidString(m.From+m.To) || strings.ContainsFunc(m.From, unicode.IsControl) || strings.ContainsFunc(m.To, unicode.IsControl) {
		return &smtp.Refusal{Phase: smtp.PhaseRcpt, Reply: smtp.Reply{Enhanced: smtp.EnhancedCode{5, 1, 3}, Text: "the address cannot be said in a header"}}
	}
	c.count++
	c.head = fmt.Appendf(c.head[:0], "X-Sender: <%s>\r\nX-Receiver: <%s>\r\n", m.From, m.To)
	if err := c.write(m.Data); err != nil {
		_ = os.Remove(c.aside)
		return c.unavailable("write a message", err)
	}
	c.final = filepath.Join(c.path, m.Name+".eml")
	return nil
}

func (c *dirConnection) write(data []byte) error {
	f, err := os.OpenFile(c.aside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = c.files.write(f, c.head)
	if err == nil {
		_, err = c.files.write(f, data)
	}
	if err == nil {
		err = c.files.sync(f)
	}
	if err == nil {
		c.written, err = f.Stat()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// finish makes the message visible, durably. A rename can succeed and answer an error: when a file
// server's answer is lost, its client asks again, and the server no longer has the old name. So finish
// looks at the final name before it says that the message was not handed over.
func (c *dirConnection) finish(*Message) (Answer, error) {
	final := c.final
	if final == "" {
		return Answer{}, c.unavailable("rename a message", errors.New("no message was begun"))
	}
	// After an error c.final stays: the lane is used no more, and abort removes what is left.
	if err := c.files.rename(c.aside, final); err != nil && !c.isVisible() {
		if c.notRenamed(err) {
			return Answer{}, c.unavailable("rename a message", err)
		}
		return Answer{}, c.uncertain("rename a message", err)
	}
	if err := c.syncFolder(); err != nil {
		return Answer{}, c.uncertain("sync the drop directory", err)
	}
	c.final = ""
	return Answer{Text: filepath.Base(final)}, nil
}

// isVisible tells whether the file that this lane has written has its final name. A file of that name
// can also be from an earlier attempt.
func (c *dirConnection) isVisible() bool {
	info, err := os.Lstat(c.final)
	return err == nil && os.SameFile(info, c.written)
}

// notRenamed tells whether err proves that the message was not made visible, and cannot become so
// later. The final name is not ours, which proves nothing alone: whoever collects the messages may
// have taken the file already.
//
// ENOENT proves it only where the directory itself is gone. Other errors prove it where they are the
// file system's own decision and the file is still there. EIO, ESTALE, ETIMEDOUT, EINTR and all others
// can mean that an answer was lost.
func (c *dirConnection) notRenamed(err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		_, lookErr := os.Stat(c.path)
		return errors.Is(lookErr, fs.ErrNotExist)
	}
	for _, decision := range []error{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EXDEV,
		syscall.EISDIR, syscall.ENOTDIR, syscall.EBUSY, syscall.EMLINK, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL} {
		if errors.Is(err, decision) {
			_, lookErr := os.Lstat(c.aside)
			return lookErr == nil
		}
	}
	return false
}

// syncFolder makes the names of the directory durable.
func (d *directory) syncFolder() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.files.sync(f)
}

func (c *dirConnection) announces() bool { return false }
func (c *dirConnection) alive() bool     { return c.final == "" }
func (c *dirConnection) used() int       { return c.count }
func (c *dirConnection) close()          { c.abort() }

func (c *dirConnection) abort() {
	if c.final != "" {
		_ = os.Remove(c.aside)
		c.final = ""
	}
}
