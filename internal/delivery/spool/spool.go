// Package spool packs the rendered messages of one batch into one compressed blob, and reads them back one by one.
//
// A blob is a header, one zstd frame, and a CRC-32C of both:
//
//	magic     4 octets "DMSP"
//	version   1 octet, 1
//	entries   4 octets, big-endian
//	size      8 octets, big-endian: octets before compression
//	frame     zstd, without a checksum of its own
//	checksum  4 octets, big-endian
//
// An entry is: recipient (uvarint), flags (1 octet; bit 0: SMTPUTF8), then envelope sender, envelope recipient and
// message, each as a length (uvarint) and its octets. A blob that is cut short or damaged is an error, never fewer
// messages.
//
// One frame over the whole batch finds in each message what the one before it said: measured, that is as small as, and
// simpler than, a frame for each message with the first as dictionary (BenchmarkEncode).
package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Entry is one message with its envelope.
type Entry struct {
	Recipient int32 // number in the mailing
	From, To  string
	UTF8      bool // needs SMTPUTF8
	Data      []byte
}

// Limits of a blob, for writing and reading.
const (
	MaxAddress = 1 << 10 // octets
	MaxMessage = 64 << 20
	MaxSize    = 1 << 30 // all entries, before compression
	MaxEntries = 1 << 20
)

const (
	magic      = "DMSP"
	version    = 1
	headerSize = 4 + 1 + 4 + 8
	crcSize    = 4

	// The window is how far back a match may lie; memory on both sides is about twice that. The message before must be within it, and some
	// hundred are better: of a long match the encoder notes few places, so what it knows gets lost with the message that had it first.
	smallWindow = 2 << 20
	largeWindow = 4 << 20
	largeFrom   = 512 << 10 // octets of the first message
	maxWindow   = 8 << 20

	flagUTF8 = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged is what the errors of a [Reader] wrap, save those about a blob of another version.
var ErrDamaged = errors.New("spool: the blob is damaged")

// Encoder writes one blob after the other on buffers that it keeps. It is for one goroutine.
type Encoder struct {
	blob         bytes.Buffer
	small, large *zstd.Encoder // large is made when first needed
	zstd         *zstd.Encoder // of this blob; nil before its first entry
	head         []byte
	entries      int
	size         int64
	err          error
}

// NewEncoder returns an Encoder with an empty blob begun.
func NewEncoder() (*Encoder, error) {
	e := &Encoder{}
	var err error
	if e.small, err = newCompressor(smallWindow); err != nil {
		return nil, err
	}
	e.Reset()
	return e, nil
}

func newCompressor(window int) (*zstd.Encoder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return z, nil
}

// Reset begins a new blob. What [Encoder.Finish] returned is no longer valid.
func (e *Encoder) Reset() {
	e.blob.Reset()
	var header [headerSize]byte
	e.blob.Write(header[:])
	e.zstd = nil
	e.entries, e.size, e.err = 0, 0, nil
}

// begin begins the blob's frame.
func (e *Encoder) begin(message int) (err error) {
	e.zstd = e.small
	if message >= largeFrom {
		if e.large == nil {
			if e.large, err = newCompressor(largeWindow); err != nil {
				return err
			}
		}
		e.zstd = e.large
	}
	e.zstd.Reset(&e.blob)
	return nil
}

// Add adds an entry, which is copied. The first error stays.
func (e *Encoder) Add(entry *Entry) error {
	if e.err == nil {
		e.err = e.add(entry)
	}
	return e.err
}

func (e *Encoder) add(entry *Entry) error {
	if entry.Recipient < 0 || len(entry.From) > MaxAddress || len(entry.To) > MaxAddress || len(entry.Data) > MaxMessage {
		return fmt.Errorf("spool: recipient %d: number, address or message (%d octets) out of bounds", entry.Recipient, len(entry.Data))
	}
	if e.zstd == nil {
		if err := e.begin(len(entry.Data)); err != nil {
			return err
		}
	}
	var flags byte
	if entry.UTF8 {
		flags |= flagUTF8
	}
	b := binary.AppendUvarint(e.head[:0], uint64(entry.Recipient))
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(len(entry.From)))
	b = append(b, entry.From...)
	b = binary.AppendUvarint(b, uint64(len(entry.To)))
	b = append(b, entry.To...)
	b = binary.AppendUvarint(b, uint64(len(entry.Data)))
	e.head = b
	e.entries++
	e.size += int64(len(b)) + int64(len(entry.Data))
	if e.size > MaxSize || e.entries > MaxEntries {
		return fmt.Errorf("spool: more than %d MiB or %d messages in a batch: use a smaller batch size", MaxSize>>20, MaxEntries)
	}
	if _, err := e.zstd.Write(b); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if _, err := e.zstd.Write(entry.Data); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Finish completes the blob. It is valid until Reset, which must come before the next Add.
func (e *Encoder) Finish() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	if e.zstd == nil {
		if err := e.begin(0); err != nil {
			return nil, err
		}
	}
	if err := e.zstd.Close(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	e.err = errors.New("spool: Reset must come after Finish")
	b := e.blob.Bytes()
	copy(b, magic)
	b[4] = version
	binary.BigEndian.PutUint32(b[5:], uint32(e.entries))
	binary.BigEndian.PutUint64(b[9:], uint64(e.size))
	var sum [crcSize]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(b, castagnoli))
	e.blob.Write(sum[:])
	return e.blob.Bytes(), nil
}

// Reader reads one blob after the other. It decompresses as it goes: memory is that of the window and one entry. It is
// for one goroutine.
type Reader struct {
	frame   bytes.Reader
	zstd    *zstd.Decoder
	in      counted
	entries int
	read    int
	size    int64
	address [MaxAddress]byte
	err     error
}

// NewReader returns a Reader without a blob; [Reader.Reset] gives it one. Close must follow.
func NewReader() (*Reader, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(MaxSize))
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &Reader{zstd: z, err: io.EOF}, nil
}

// Reset begins reading a blob, after checking that it is whole. The blob must not change until the last entry is read.
func (r *Reader) Reset(blob []byte) error {
	r.err = r.reset(blob)
	return r.err
}

func (r *Reader) reset(blob []byte) error {
	r.entries, r.read = 0, 0
	if len(blob) < headerSize+crcSize || string(blob[:4]) != magic {
		return damaged("it is not a spool blob, or cut short")
	}
	if blob[4] != version {
		return fmt.Errorf("spool: the blob has version %d, this program reads version %d", blob[4], version)
	}
	end := len(blob) - crcSize
	if crc32.Checksum(blob[:end], castagnoli) != binary.BigEndian.Uint32(blob[end:]) {
		return damaged("its checksum is wrong")
	}
	entries, size := binary.BigEndian.Uint32(blob[5:]), binary.BigEndian.Uint64(blob[9:])
	if entries > MaxEntries || size > MaxSize {
		return damaged("it claims more than a batch may hold")
	}
	r.entries, r.size = int(entries), int64(size)
	r.frame.Reset(blob[headerSize:end])
	if err := r.zstd.Reset(&r.frame); err != nil {
		return damaged(err.Error())
	}
	r.in.reset(r.zstd, r.size)
	return nil
}

// Len returns the number of entries in the blob.
func (r *Reader) Len() int { return r.entries }

// Next reads the next entry into e, using the room that e.Data has; e is the caller's from then on. After the last entry,
// and once the blob has proved to end there, the error is [io.EOF].
func (r *Reader) Next(e *Entry) error {
	if r.err != nil {
		return r.err
	}
	if r.read == r.entries {
		r.err = r.finish()
		return r.err
	}
	if r.err = r.next(e); r.err == nil {
		r.read++
	}
	return r.err
}

func (r *Reader) finish() error {
	if r.in.taken != r.size {
		return damaged("it holds more than its entries")
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return damaged("it holds more than its entries")
	}
	return io.EOF
}

func (r *Reader) next(e *Entry) error {
	number, err := binary.ReadUvarint(&r.in)
	if err != nil || number > 1<<31-1 {
		return damaged("a recipient's number cannot be read")
	}
	flags, err := r.in.ReadByte()
	if err != nil || flags&^flagUTF8 != 0 {
		return damaged("an entry's flags cannot be read")
	}
	e.Recipient, e.UTF8 = int32(number), flags&flagUTF8 != 0
	for _, to := range [...]*string{&e.From, &e.To} {
		b, err := r.field(r.address[:0], MaxAddress)
		if err != nil {
			return err
		}
		if *to != string(b) { // the sender is mostly that of the entry before
			*to = string(b)
		}
	}
	e.Data, err = r.field(e.Data[:0], MaxMessage)
	return err
}

// field reads a length and as many octets into b.
func (r *Reader) field(b []byte, most uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(&r.in)
	if err != nil || n > most || int64(n) > r.size-r.in.taken {
		return b[:0], damaged("a length cannot be read or is out of bounds")
	}
	if uint64(cap(b)) < n {
		b = make([]byte, n)
	}
	b = b[:n]
	if _, err := io.ReadFull(&r.in, b); err != nil {
		return b[:0], damaged("it ends within an entry")
	}
	return b, nil
}

// forget lets go of the blob.
func (r *Reader) forget() {
	r.frame.Reset(nil)
	r.err = io.EOF
}

// Close frees the decoder.
func (r *Reader) Close() {
	r.zstd.Close()
	r.err = errors.New("spool: the reader is closed")
}

func damaged(how string) error { return fmt.Errorf("%w: %s", ErrDamaged, how) }
