package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// Encoder writes one blob after the other. It reuses its memory. It is not safe for concurrent use.
type Encoder struct {
	blob         bytes.Buffer
	small, large *zstd.Encoder // large is nil until a batch needs it
	zstd         *zstd.Encoder // one of the two; nil before the blob's first entry
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

// Reset begins a new blob. The blob that [Encoder.Finish] returned is no longer valid.
func (e *Encoder) Reset() {
	e.blob.Reset()
	var header [headerSize]byte
	e.blob.Write(header[:])
	e.zstd = nil
	e.entries, e.size, e.err = 0, 0, nil
}

// begin begins the blob's frame. message is the size of its first message.
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

// Add copies an entry into the blob. After an error, all further calls return the same error.
func (e *Encoder) Add(entry *Entry) error {
	if e.err == nil {
		e.err = e.add(entry)
	}
	return e.err
}

func (e *Encoder) add(entry *Entry) error {
	if entry.Recipient < 0 || len(entry.From) > maxAddress || len(entry.To) > maxAddress ||
		len(entry.Data) > maxMessage {
		return fmt.Errorf("spool: recipient %d: number, address or message (%d octets) is out of range",
			entry.Recipient, len(entry.Data))
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
	if e.size > maxSize || e.entries > maxEntries {
		return fmt.Errorf("spool: message %d of the batch: %w", e.entries, ErrTooLarge)
	}
	if _, err := e.zstd.Write(b); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if _, err := e.zstd.Write(entry.Data); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Finish returns the complete blob. It is valid until Reset. Reset must be called before the next
// Add.
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
	e.err = errors.New("spool: Reset must be called after Finish")
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
