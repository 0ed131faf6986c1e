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

// Reader reads one blob after the other. It decompresses entry by entry, so that it needs memory
// for the window and one entry. It is not safe for concurrent use.
type Reader struct {
	frame   bytes.Reader
	zstd    *zstd.Decoder
	in      boundedReader
	entries int
	read    int
	size    int64
	address [maxAddress]byte
	err     error
}

// NewReader returns a Reader without a blob. Call [Reader.Reset] to give it one. The caller must
// call Close.
func NewReader() (*Reader, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxSize))
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &Reader{zstd: z, err: io.EOF}, nil
}

// Reset begins reading a blob, and checks that it is complete. The blob must not change until the
// last entry is read.
func (r *Reader) Reset(blob []byte) error {
	r.err = r.reset(blob)
	return r.err
}

func (r *Reader) reset(blob []byte) error {
	r.entries, r.read = 0, 0
	if len(blob) < headerSize+crcSize || string(blob[:4]) != magic {
		return damaged("it is not a spool blob, or it is cut short")
	}
	if blob[4] != version {
		return fmt.Errorf("spool: the blob has version %d, this program reads version %d", blob[4], version)
	}
	end := len(blob) - crcSize
	if crc32.Checksum(blob[:end], castagnoli) != binary.BigEndian.Uint32(blob[end:]) {
		return damaged("its checksum is wrong")
	}
	entries, size := binary.BigEndian.Uint32(blob[5:]), binary.BigEndian.Uint64(blob[9:])
	if entries > maxEntries || size > maxSize {
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

// Next reads the next entry into e, and reuses the memory of e.Data. The Reader does not keep e.
// After the last entry, if the blob ends there, the error is [io.EOF].
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

// finish checks that the blob ends after its last entry.
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
		b, err := r.field(r.address[:0], maxAddress)
		if err != nil {
			return err
		}
		if *to != string(b) { // most entries have the sender of the entry before
			*to = string(b)
		}
	}
	e.Data, err = r.field(e.Data[:0], maxMessage)
	return err
}

// field reads a length and that many octets into b.
func (r *Reader) field(b []byte, most uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(&r.in)
	if err != nil || n > most || int64(n) > r.size-r.in.taken {
		return b[:0], damaged("a length cannot be read or is out of range")
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

// releaseBlob drops the reference to the blob.
func (r *Reader) releaseBlob() {
	r.frame.Reset(nil)
	r.err = io.EOF
}

// Close frees the memory of the decoder.
func (r *Reader) Close() {
	r.zstd.Close()
	r.err = errors.New("spool: the reader is closed")
}
