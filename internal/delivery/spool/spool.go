// Package spool packs the rendered messages of one batch into one compressed blob, and reads them
// back one by one.
//
// A blob is a header, one zstd frame (RFC 8878), and a CRC-32C of both:
//
//	magic     4 octets "DMSP"
//	version   1 octet, 1
//	entries   4 octets, big-endian
//	size      8 octets, big-endian: octets before compression
//	frame     zstd, without a checksum of its own
//	checksum  4 octets, big-endian
//
// An entry is the recipient's number (uvarint), flags (1 octet; bit 0: SMTPUTF8), envelope sender,
// envelope recipient, and message. The last three are each a length (uvarint) and that many octets.
// A blob that is cut short or damaged is an error. It never yields fewer messages.
//
// All messages of a batch share one frame, so that each is compressed against those before it. As
// measured by BenchmarkEncode, this is as small as a frame for each message with the first message
// as dictionary, and simpler.
package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
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
	maxAddress = 1 << 10 // octets
	maxMessage = 64 << 20
	maxSize    = 1 << 30 // of all entries, before compression
	maxEntries = 1 << 20
)

const (
	magic      = "DMSP"
	version    = 1
	headerSize = 4 + 1 + 4 + 8
	crcSize    = 4

	flagUTF8 = 1
)

// The window is how far back the compressor finds repeated text. Both sides need about twice its
// size in memory. The previous message must be within the window, and compression is better with
// some hundred messages in it: the compressor records few positions of a long match, so it loses
// the text when the message that had it first leaves the window.
const (
	smallWindow = 2 << 20
	largeWindow = 4 << 20
	largeFrom   = 512 << 10 // octets of the first message from which the large window is used
	maxWindow   = 8 << 20   // for reading
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged is wrapped by every error of a [Reader] except that for a blob of another version.
var ErrDamaged = errors.New("spool: the blob is damaged")

// ErrTooLarge is wrapped by the errors of an [Encoder] for a batch that exceeds the limits.
var ErrTooLarge = errors.New("the rendered messages of the batch are larger than 1 GiB: use a smaller batch_size")

func damaged(reason string) error { return fmt.Errorf("%w: %s", ErrDamaged, reason) }
