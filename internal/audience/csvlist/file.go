package csvlist

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"directmailer/internal/audience/charset"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/statuscolumn"
	"directmailer/internal/stoppable"
)

// Options is what a caller says about a file.
type Options struct {
	Encoding string // empty: recognized
	Status   Status
}

// File is a list file that was read once as a whole.
type File struct {
	// Encoding is the name of the encoding. Letters are set if it was recognized by them: the
	// commonest characters beyond ASCII.
	Encoding string
	Letters  string
	// Separator separates the columns. Declared says that a line sep= names it.
	Separator byte
	Declared  bool
	Mapping   []member.Column
	Status    []statuscolumn.Report // the columns that say who may be mailed
	Warnings  []Warning
	Rows      int64 // that are not blank, behind the header

	name     string   // as errors have it
	copied   *os.File // of what can be read only once
	size     int64
	modified time.Time
	columns  []*column
	decision Status
}

// Warning is something that is probably wrong with the values of a file.
type Warning struct {
	Line   int    `json:"line"`   // of the first row
	Column int    `json:"column"` // of its first cell
	Rows   int64  `json:"rows"`
	Text   string `json:"warning"`
}

// Name returns the name of the file, as it was given.
func (f *File) Name() string { return f.name }

// Undecided returns an [*UndecidedError] while nobody has decided about the columns that say who
// may be mailed.
func (f *File) Undecided() error {
	if f.decision != Undecided || len(f.Status) == 0 {
		return nil
	}
	return &UndecidedError{f.name, f.Status}
}

// Inspect reads the file as a whole. The error is an [*Error] or [*Faults]. The caller must close
// the File. A pipe is waited for until ctx is done.
func Inspect(ctx context.Context, path string, o Options) (*File, error) {
	f := &File{name: path, decision: o.Status}
	if err := f.open(ctx); err != nil {
		return nil, &Error{File: path, Err: cause(err)}
	}
	err := f.recognize(o.Encoding)
	if err == nil {
		err = f.inspect(o.Encoding != "")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// open looks at the file. It copies what can be read only once, such as a pipe.
func (f *File) open(ctx context.Context) error {
	file, err := stoppable.Open(ctx, f.name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("is a folder, not a file")
	case info.Mode().IsRegular():
		f.size, f.modified = info.Size(), info.ModTime()
		return nil
	}
	return f.copyOf(stoppable.Reader(ctx, file))
}

// copyOf copies the file into one that has no name anymore where the system allows that.
func (f *File) copyOf(file io.Reader) (err error) {
	if f.copied, err = os.CreateTemp("", "direct-mailer-list-"); err != nil {
		return err
	}
	_ = os.Remove(f.copied.Name())
	f.size, err = io.Copy(f.copied, file)
	return err
}

// from opens the file, or its copy.
func (f *File) from() (io.ReadCloser, error) {
	if f.copied != nil {
		return io.NopCloser(io.NewSectionReader(f.copied, 0, f.size)), nil
	}
	return os.Open(f.name)
}

// Close removes the copy, if there is one.
func (f *File) Close() {
	if f.copied != nil {
		_ = f.copied.Close()
		_ = os.Remove(f.copied.Name())
	}
}

// recognize finds the encoding by what the caller says and by the file's start.
func (f *File) recognize(named string) error {
	if named != "" {
		name, err := charset.Name(named)
		if err != nil {
			return &Error{File: f.name, Err: errors.New("the encoding " + err.Error())}
		}
		f.Encoding = name
	}
	file, err := f.from()
	if err != nil {
		return &Error{File: f.name, Err: cause(err)}
	}
	defer file.Close()
	start := make([]byte, bufferSize)
	n, err := io.ReadFull(file, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return &Error{File: f.name, Err: cause(err)}
	}
	found, err := charset.Start(start[:n])
	switch isUTF16 := strings.HasPrefix(found, "utf-16") && strings.HasPrefix(f.Encoding, "utf-16"); {
	case err != nil:
		return &Error{File: f.name, Line: 1, Err: err}
	case f.Encoding == "" && found == "":
		f.Encoding = charset.UTF8
	case f.Encoding == "" || isUTF16:
		f.Encoding = found
	case found != "" && found != f.Encoding:
		return &Error{File: f.name, Line: 1, Err: errors.New("is " + found + ", not " + f.Encoding)}
	}
	return nil
}

// reader opens the file and reads its header.
func (f *File) reader() (*Reader, error) {
	file, err := f.from()
	if err != nil {
		return nil, &Error{File: f.name, Err: cause(err)}
	}
	metered := &meter{from: file}
	r, err := newReader(metered, metered, f.name, f.Encoding)
	if err != nil {
		file.Close()
		return nil, err
	}
	r.closer, r.size = file, f.size
	return r, nil
}

// Decide decides about the columns that say who may be mailed.
func (f *File) Decide(s Status) { f.decision = s }

// Members returns a Reader of the file's members. While nobody has decided about the columns that
// say who may be mailed, the error is an [*UndecidedError].
func (f *File) Members() (*Reader, error) {
	if err := f.Undecided(); err != nil {
		return nil, err
	}
	r, err := f.reader()
	if err != nil {
		return nil, err
	}
	r.changed = f.changed
	if err := r.unchanged(); err != nil {
		r.Close()
		return nil, err
	}
	r.columns = f.columns
	if f.UsesStatus() {
		r.status.columns = f.Status
	}
	return r, nil
}

// changed reports whether the file is another one than the one that was inspected.
func (f *File) changed() bool {
	if f.copied != nil {
		return false
	}
	info, err := os.Stat(f.name)
	return err != nil || info.Size() != f.size || !info.ModTime().Equal(f.modified)
}
