// Package mailfiles reads messages from files as people have them: one message a file (.eml), many
// in one file (mbox), a folder of files, or a Maildir.
package mailfiles

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"directmailer/internal/stoppable"
)

// Message is one message of a file.
type Message struct {
	File   string // as it was named, or below the folder that was named
	Number int    // its place in the file, from 1
	Data   []byte // the beginning of the message
	Size   int64  // of the whole message, in octets
}

// Reader reads files one after the other. It is not safe for concurrent use, except Done.
type Reader struct {
	// Limit is how many octets of a message are kept. The rest is skipped.
	Limit int
	// Stdin is read for the name "-".
	Stdin io.Reader

	files []string
	total int64
	done  atomic.Int64
}

// Open finds the files that the names stand for, so that a name that is wrong is an error before
// the first message is read. An error names the file.
func Open(names []string, stdin io.Reader, limit int) (*Reader, error) {
	r := &Reader{Limit: limit, Stdin: stdin}
	for _, name := range names {
		if name == "-" {
			r.files = append(r.files, name)
			continue
		}
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			err = r.addFolder(name)
		default:
			r.add(name, info)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Reader) add(name string, info fs.FileInfo) {
	r.files = append(r.files, name)
	if info.Mode().IsRegular() {
		r.total += info.Size()
	}
}

// addFolder adds the messages of a Maildir, or else the files of a folder.
func (r *Reader) addFolder(name string) error {
	before := len(r.files)
	maildir := false
	for _, sub := range []string{"new", "cur"} {
		if info, err := os.Stat(filepath.Join(name, sub)); err == nil && info.IsDir() {
			maildir = true
			if err := r.addFiles(filepath.Join(name, sub)); err != nil {
				return err
			}
		}
	}
	if !maildir {
		if err := r.addFiles(name); err != nil {
			return err
		}
		if len(r.files) == before {
			return &fs.PathError{Op: "read", Path: name, Err: errors.New("the folder has no messages: name a Maildir (with " +
				"the folders new and cur), or a folder of message files")}
		}
	}
	return nil
}

func (r *Reader) addFiles(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := os.Stat(filepath.Join(folder, e.Name()))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue // moved by a mail program, or a folder
		}
		if err != nil {
			return err
		}
		r.add(filepath.Join(folder, e.Name()), info)
	}
	return nil
}

// Done returns how many octets were read, and of how many: 0 if that is not known.
func (r *Reader) Done() (read, total int64) { return r.done.Load(), r.total }

// Each calls do for every message of all files, until do or the context ends it. Data is valid
// until do returns.
func (r *Reader) Each(ctx context.Context, do func(Message) error) error {
	for _, name := range r.files {
		if err := r.file(ctx, name, do); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) file(ctx context.Context, name string, do func(Message) error) error {
	in := r.Stdin
	if name != "-" {
		f, err := stoppable.Open(ctx, name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = stoppable.Reader(ctx, f)
	}
	s := splitter{in: bufio.NewReaderSize(counting{in, &r.done}, 64<<10), limit: r.Limit}
	start, err := s.in.Peek(len(fromLine))
	if err != nil && !errors.Is(err, io.EOF) {
		return failure(ctx, name, err)
	}
	// A file named .eml is one message, also if a mail program has left the line of its mbox in it.
	s.mbox = string(start) == fromLine && !strings.EqualFold(filepath.Ext(name), ".eml")
	for number := 1; ; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := s.next()
		if err != nil {
			return failure(ctx, name, err)
		}
		if s.size > 0 {
			if err := do(Message{File: name, Number: number, Data: s.data, Size: s.size}); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

func failure(ctx context.Context, name string, err error) error {
	var path *fs.PathError
	if ctx.Err() != nil {
		return err
	}
	if name == "-" || errors.As(err, &path) {
		return fmt.Errorf("read the messages: %w", err)
	}
	return &fs.PathError{Op: "read", Path: name, Err: err}
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// fromLine begins each message of an mbox file (RFC 4155).
const fromLine = "From "

// splitter divides a file into messages.
type splitter struct {
	in    *bufio.Reader
	limit int
	mbox  bool

	data []byte
	size int64
	held []byte // the line that ended the last message
}

// next reads a message into data, and reports whether another one follows.
func (s *splitter) next() (more bool, err error) {
	s.data, s.size = append(s.data[:0], s.held[:min(len(s.held), s.limit)]...), int64(len(s.held))
	s.held = nil
	blank, whole := false, true // the last line was blank; the line begins here
	for {
		line, err := s.in.ReadSlice('\n')
		if s.mbox && whole && blank && isFromLine(line) {
			s.held = bytes.Clone(line)
			return true, nil
		}
		if whole {
			blank = len(bytes.TrimRight(line, "\r\n")) == 0 && len(line) > 0
		}
		whole = err == nil
		s.size += int64(len(line))
		s.data = append(s.data, line[:min(len(line), max(0, s.limit-len(s.data)))]...)
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return false, err
		}
	}
}

// isFromLine reports whether a line begins a message of an mbox file: "From", an address, and a
// date with a time. Text of a message can begin with the word From.
func isFromLine(line []byte) bool {
	if !bytes.HasPrefix(line, []byte(fromLine)) || len(line) > 400 {
		return false
	}
	words := bytes.Fields(line)
	colon, year := false, false
	for _, w := range words[1:] {
		colon = colon || bytes.Count(w, []byte(":")) >= 1 && w[0] >= '0' && w[0] <= '9'
		year = year || len(w) == 4 && (w[0] == '1' || w[0] == '2') && bytes.Trim(w, "0123456789") == nil
	}
	return len(words) >= 6 && colon && year
}
