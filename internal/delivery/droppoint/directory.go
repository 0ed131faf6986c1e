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

// Temporary names of files that are not yet messages. No two connections, of this worker or
// another, ever have the same name. A worker that was cut off and continues later can make visible
// only a file that it has written itself, and the whole of it.
const tempPrefix, tempSuffix = ".dm-", ".part"

// staleAfter is the age from which a temporary file counts as left by a dead worker. If the worker
// is alive, its message fails before it is visible.
const staleAfter = time.Hour

// maxName leaves room for the suffix in the 255 octets that file systems allow.
const maxName = 200

// directory opens connections to a drop directory.
type directory struct {
	path        string
	removeStale sync.Once
	files       files
}

// files holds the steps that make a message visible and durable, in the order write, sync (file),
// rename, sync (directory). Tests record them, or let them fail.
type files struct {
	write  func(f *os.File, data []byte) (int, error)
	sync   func(f *os.File) error // f is a file or a directory
	rename func(from, to string) error
}

var realFiles = files{write: (*os.File).Write, sync: (*os.File).Sync, rename: os.Rename}

// open checks that files can be written and that the directory can be synced. So a directory that
// is missing, or cannot keep a message durably, is found before a message begins.
func (d *directory) open(_ context.Context, at func(step string)) (rawConn, error) {
	at("open the drop directory")
	info, err := os.Stat(d.path)
	if err == nil && !info.IsDir() {
		err = errors.New("is not a directory")
	}
	if err != nil {
		return nil, d.unavailable("open the drop directory", err)
	}
	f, err := os.CreateTemp(d.path, tempPrefix+"*"+tempSuffix)
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
	if err := d.syncDirectory(); err != nil {
		return nil, d.unavailable("sync the drop directory", err)
	}
	d.removeStale.Do(d.removeStaleFiles)
	return &directoryConn{directory: d, temp: f.Name()}, nil
}

// removeStaleFiles removes the temporary files of dead workers: at most one for each connection
// that they had. Its errors do no harm.
func (d *directory) removeStaleFiles() {
	dir, err := os.Open(d.path)
	if err != nil {
		return
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if !strings.HasPrefix(name, tempPrefix) || !strings.HasSuffix(name, tempSuffix) {
				continue
			}
			path := filepath.Join(d.path, name)
			if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > staleAfter {
				_ = os.Remove(path)
			}
		}
		if err != nil {
			return
		}
	}
}

// syncDirectory makes the names of the directory durable.
func (d *directory) syncDirectory() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.files.sync(f)
}

func (d *directory) unavailable(doing string, err error) error {
	return &smtp.ConnError{Phase: smtp.Phase(doing), Cause: withoutPath(err)}
}

func (d *directory) uncertain(doing string, err error) error {
	return &smtp.ConnError{Phase: smtp.Phase(doing), Cause: withoutPath(err), Uncertain: true}
}

// withoutPath returns the cause of an error of package os, without the path of the file.
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

// directoryConn writes messages into a drop directory, one at a time.
type directoryConn struct {
	*directory
	temp    string      // path of this connection's temporary file
	final   string      // path under which the message becomes visible; empty while none has begun
	written fs.FileInfo // of the temporary file
	head    []byte
	count   int
}

// begin writes the message into the temporary file, and syncs it.
func (c *directoryConn) begin(ctx context.Context, m *Message) error {
	c.abort() // a message that has begun and is not finished
	if err := ctx.Err(); err != nil {
		return c.unavailable("write a message", err)
	}
	if !isFileName(m.Name) {
		return c.unavailable("name the message's file", errors.New("not a plain file name"))
	}
	if m.To == "" || !isHeaderValue(m.From) || !isHeaderValue(m.To) {
		return &smtp.Refusal{Phase: smtp.PhaseRcpt, Reply: smtp.Reply{
			Enhanced: smtp.EnhancedCode{5, 1, 3}, Text: "the address cannot be written into a header field"}}
	}
	c.count++
	c.head = fmt.Appendf(c.head[:0], "X-Sender: <%s>\r\nX-Receiver: <%s>\r\n", m.From, m.To)
	if err := c.write(m.Data); err != nil {
		_ = os.Remove(c.temp)
		return c.unavailable("write a message", err)
	}
	c.final = filepath.Join(c.path, m.Name+".eml")
	return nil
}

func isFileName(name string) bool {
	return name != "" && len(name) <= maxName && name == filepath.Base(name) && !strings.HasPrefix(name, ".") &&
		!strings.Contains(name, `\`) && !strings.ContainsFunc(name, unicode.IsControl)
}

func isHeaderValue(address string) bool {
	return utf8.ValidString(address) && !strings.ContainsFunc(address, unicode.IsControl)
}

func (c *directoryConn) write(data []byte) error {
	f, err := os.OpenFile(c.temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
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

// finish makes the message visible, durably. A rename can succeed and still return an error: when
// the answer of a file server is lost, its client asks again, and the server no longer has the old
// name. So finish looks at the final name before it reports that the message was not handed over.
func (c *directoryConn) finish(*Message) (Answer, error) {
	final := c.final
	if final == "" {
		return Answer{}, c.unavailable("rename a message", errors.New("no message was begun"))
	}
	// After an error c.final stays set: no message follows on this connection, and abort removes
	// the temporary file.
	if err := c.files.rename(c.temp, final); err != nil && !c.isVisible() {
		if c.notRenamed(err) {
			return Answer{}, c.unavailable("rename a message", err)
		}
		return Answer{}, c.uncertain("rename a message", err)
	}
	if err := c.syncDirectory(); err != nil {
		return Answer{}, c.uncertain("sync the drop directory", err)
	}
	c.final = ""
	return Answer{Text: filepath.Base(final)}, nil
}

// isVisible reports whether the file that this connection has written has its final name. A file of
// that name can also be from an earlier attempt.
func (c *directoryConn) isVisible() bool {
	info, err := os.Lstat(c.final)
	return err == nil && os.SameFile(info, c.written)
}

// refusedRenames are errors by which the file system itself refuses a rename.
var refusedRenames = []error{
	syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EXDEV, syscall.EISDIR,
	syscall.ENOTDIR,
	syscall.EBUSY, syscall.EMLINK, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL,
}

// notRenamed reports whether err proves that the message was not made visible, and cannot become
// visible later. That the file is not under its final name does not prove it: the program that
// collects the messages may have taken the file already.
//
// ENOENT proves it only if the directory itself is gone. Other errors prove it if the file system
// refused the rename and the temporary file is still there. EIO, ESTALE, ETIMEDOUT, EINTR and all
// others can mean that an answer was lost.
func (c *directoryConn) notRenamed(err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		_, statErr := os.Stat(c.path)
		return errors.Is(statErr, fs.ErrNotExist)
	}
	for _, refused := range refusedRenames {
		if errors.Is(err, refused) {
			_, statErr := os.Lstat(c.temp)
			return statErr == nil
		}
	}
	return false
}

func (c *directoryConn) fits(*Message) error { return nil }
func (c *directoryConn) pipelinesNext() bool { return false }
func (c *directoryConn) alive() bool         { return c.final == "" }
func (c *directoryConn) used() int           { return c.count }
func (c *directoryConn) close()              { c.abort() }

func (c *directoryConn) abort() {
	if c.final != "" {
		_ = os.Remove(c.temp)
		c.final = ""
	}
}
