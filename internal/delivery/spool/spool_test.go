package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// batch returns n messages of about size octets that differ in a few values, as those of a mailing
// do.
func batch(n, size int) []Entry {
	rng := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the quick =C3=A9t=C3=A9 newsletter of <td class=3D\"cell\"> offers " +
		"https://example.com/ and " +
		"</td> style=3D\"font-family:sans-serif\" =\r\n more for every reader &nbsp; <p> </p> spring summer 2026")
	var page strings.Builder
	for page.Len() < size-300 {
		page.WriteString(words[rng.IntN(len(words))])
		page.WriteString(fmt.Sprintf(" %d\r\n", rng.IntN(1000)))
	}
	entries := make([]Entry, n)
	for i := range entries {
		to := fmt.Sprintf("reader.%d.%x@example.org", i, rng.Uint32())
		data := fmt.Sprintf("From: News <news@example.com>\r\nTo: %s\r\nMessage-ID: <m.%d.%x%x@example.com>\r\n"+
			"\r\nDear reader %d,\r\n%s code %x\r\n",
			to, i, rng.Uint64(), rng.Uint64(), i, page.String(), rng.Uint64())
		entries[i] = Entry{Recipient: int32(i + 1), From: "bounces@example.com", To: to, UTF8: i%7 == 0,
			Data: []byte(data)}
	}
	return entries
}

func encode(t testing.TB, entries []Entry) []byte {
	t.Helper()
	e, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := e.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	blob, err := e.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func decode(blob []byte) ([]Entry, error) {
	r, err := NewReader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Reset(blob); err != nil {
		return nil, err
	}
	var entries []Entry
	for {
		var e Entry
		if err := r.Next(&e); err == io.EOF {
			return entries, nil
		} else if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
}

func same(a, b Entry) bool {
	return a.Recipient == b.Recipient && a.From == b.From && a.To == b.To && a.UTF8 == b.UTF8 &&
		bytes.Equal(a.Data, b.Data)
}

func TestEveryEntryComesBackAsItWent(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 500} {
		want := batch(n, 4000)
		got, err := decode(encode(t, want))
		if err != nil || len(got) != n {
			t.Fatalf("%d entries: got %d, %v", n, len(got), err)
		}
		for i := range want {
			if !same(got[i], want[i]) {
				t.Fatalf("entry %d of %d differs", i, n)
			}
		}
	}
}

func TestEmptyAndLargeFieldsComeBack(t *testing.T) {
	t.Parallel()
	large := make([]byte, 20<<20)
	for i := range large {
		large[i] = byte(i * i >> 8)
	}
	want := []Entry{{}, {Recipient: 1<<31 - 1, From: "", To: "a@example.com", Data: large},
		{Recipient: 2, To: "ü@example.com", UTF8: true}}
	got, err := decode(encode(t, want))
	if err != nil || len(got) != len(want) {
		t.Fatal(len(got), err)
	}
	for i := range want {
		if !same(got[i], want[i]) {
			t.Errorf("entry %d differs", i)
		}
	}
}

func TestReusedEncoderAndReaderKeepNothingOfTheBatchBefore(t *testing.T) {
	t.Parallel()
	first, second := batch(20, 9000), batch(5, 3000)
	want := bytes.Clone(encode(t, second))
	e, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, entries := range [][]Entry{first, second} {
		e.Reset()
		for i := range entries {
			if err := e.Add(&entries[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := e.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the second blob depends on the first batch")
	}
	if err := e.Add(&first[0]); err == nil {
		t.Error("Add after Finish changes a finished blob")
	}

	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var entry Entry
	if err := r.Next(&entry); err != io.EOF {
		t.Errorf("a reader without a blob: %v", err)
	}
	if err := r.Reset(encode(t, first)); err != nil {
		t.Fatal(err)
	}
	if err := r.Next(&entry); err != nil {
		t.Fatal(err)
	}
	if err := r.Reset(want); err != nil { // the first is not read to its end
		t.Fatal(err)
	}
	for i := range second {
		if err := r.Next(&entry); err != nil || !same(entry, second[i]) {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	if err := r.Next(&entry); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

func TestACutBlobIsAnErrorAtEveryLength(t *testing.T) {
	t.Parallel()
	blob := encode(t, batch(10, 1000))
	for n := range len(blob) {
		if _, err := decode(blob[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d of %d octets: %v", n, len(blob), err)
		}
	}
	if _, err := decode(append(bytes.Clone(blob), 0)); !errors.Is(err, ErrDamaged) {
		t.Error("an octet more is taken")
	}
}

func TestADamagedOctetIsAnErrorWhereverItIs(t *testing.T) {
	t.Parallel()
	blob := encode(t, batch(10, 1000))
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 0x20
		if _, err := decode(bad); err == nil {
			t.Fatalf("octet %d of %d changed: no error", i, len(blob))
		}
	}
}

// seal makes a blob with a valid checksum. Its header need not match its payload.
func seal(t *testing.T, entries uint32, size uint64, payload []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := append([]byte(magic), version)
	b = binary.BigEndian.AppendUint32(b, entries)
	b = binary.BigEndian.AppendUint64(b, size)
	b = z.EncodeAll(payload, b)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Other tests would use memory at the same time: this one is not parallel.
func TestAHostileBlobIsAnErrorAndTakesLittleMemory(t *testing.T) {
	good := []byte{1, 0, 1, 'f', 1, 't', 2, 'h', 'i'}
	huge := append([]byte{1, 0, 1, 'f', 1, 't'}, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F)
	if got, err := decode(seal(t, 1, uint64(len(good)), good)); err != nil || len(got) != 1 {
		t.Fatal("the good one is refused: ", err)
	}
	bomb := make([]byte, 256<<20)
	for name, blob := range map[string][]byte{
		"more entries claimed than there are": seal(t, 2, uint64(len(good)), good),
		"fewer entries claimed":               seal(t, 1, uint64(2*len(good)), append(good, good...)),
		"a smaller size claimed":              seal(t, 1, uint64(len(good)-1), good),
		"a larger size claimed":               seal(t, 1, uint64(len(good)+1), good),
		"a length beyond the blob":            seal(t, 1, uint64(len(huge)), huge),
		"a number beyond all bounds":          seal(t, 1, 13, append([]byte{0x80, 0x80, 0x80, 0x80, 0x08}, good[1:]...)),
		"an unknown flag":                     seal(t, 1, 9, []byte{1, 2, 1, 'f', 1, 't', 2, 'h', 'i'}),
		"a size beyond all bounds":            seal(t, 1, 1<<40, good),
		"a bomb":                              seal(t, 0, 0, bomb),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decode(blob)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "a bomb" && after.TotalAlloc-before.TotalAlloc > 128<<20 {
			t.Errorf("%s: took %d MiB", name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

func TestAnotherVersionIsNamed(t *testing.T) {
	t.Parallel()
	blob := encode(t, batch(1, 500))
	blob[4] = 2
	if _, err := decode(blob); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Error(err)
	}
}

func TestWhatDoesNotFitIsRefusedWhenWritten(t *testing.T) {
	t.Parallel()
	for _, entry := range []Entry{{Recipient: -1}, {To: strings.Repeat("a", maxAddress+1)},
		{From: strings.Repeat("a", maxAddress+1)}, {Data: make([]byte, maxMessage+1)}} {
		e, err := NewEncoder()
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Add(&entry); err == nil {
			t.Error("added")
		}
		if _, err := e.Finish(); err == nil {
			t.Error("a batch with an entry left out was finished")
		}
	}
}

func TestABatchThatIsTooLargeIsAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, fill := range map[string]func(*Encoder){
		"octets":   func(e *Encoder) { e.size = maxSize },
		"messages": func(e *Encoder) { e.entries = maxEntries },
	} {
		e, err := NewEncoder()
		if err != nil {
			t.Fatal(err)
		}
		fill(e)
		if err := e.Add(&Entry{Recipient: 1, To: "a@example.org", Data: []byte("x")}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := e.Finish(); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: Finish: got %v", name, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(encode(f, batch(3, 500)))
	f.Fuzz(func(t *testing.T, blob []byte) {
		if len(blob) > crcSize { // make the checksum valid, to test what comes after it
			blob = bytes.Clone(blob)
			end := len(blob) - crcSize
			binary.BigEndian.PutUint32(blob[end:], crc32.Checksum(blob[:end], castagnoli))
		}
		entries, err := decode(blob)
		if err == nil && len(entries) != int(binary.BigEndian.Uint32(blob[5:])) {
			t.Error("a short batch without an error")
		}
	})
}

func TestABufferPoolReturnsEncodersAndReadersReadyForAnotherBatch(t *testing.T) {
	t.Parallel()
	var pool BufferPool
	for round, entries := range [][]Entry{batch(20, 3000), batch(5, largeFrom+1), batch(30, 100), {}} {
		e, err := pool.GetEncoder()
		if err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			if err := e.Add(&entries[i]); err != nil {
				t.Fatal(err)
			}
		}
		blob, err := e.Finish()
		if err != nil {
			t.Fatal(err)
		}
		r, err := pool.GetReader()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Reset(blob); err != nil {
			t.Fatal(err)
		}
		for i := range entries[:len(entries)/(round+1)] { // the later rounds stop before the end
			var got Entry
			if err := r.Next(&got); err != nil || got.To != entries[i].To || !bytes.Equal(got.Data, entries[i].Data) {
				t.Fatalf("round %d, entry %d: %+v, %v", round, i, got.To, err)
			}
		}
		pool.PutReader(r)
		if err := r.Next(&Entry{}); err != io.EOF {
			t.Errorf("a reader in the pool still reads: %v", err)
		}
		pool.PutEncoder(e)
	}
	if len(pool.encoders) != 1 || len(pool.readers) != 1 {
		t.Errorf("%d encoders and %d readers for one user", len(pool.encoders), len(pool.readers))
	}
}

func BenchmarkEncode(b *testing.B) {
	entries := batch(500, 24<<10)
	b.Run("one frame", func(b *testing.B) {
		e, err := NewEncoder()
		if err != nil {
			b.Fatal(err)
		}
		var blob []byte
		b.ReportAllocs()
		for b.Loop() {
			e.Reset()
			for i := range entries {
				if err := e.Add(&entries[i]); err != nil {
					b.Fatal(err)
				}
			}
			if blob, err = e.Finish(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(blob)), "octets")
	})
	// The alternative: a frame for each message, with the first message as raw dictionary.
	b.Run("dictionary", func(b *testing.B) {
		plain, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			b.Fatal(err)
		}
		var blob []byte
		b.ReportAllocs()
		for b.Loop() {
			z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithEncoderDictRaw(1, entries[0].Data))
			if err != nil {
				b.Fatal(err)
			}
			blob = plain.EncodeAll(entries[0].Data, blob[:0])
			for i := range entries[1:] {
				blob = z.EncodeAll(entries[i+1].Data, blob)
			}
		}
		b.ReportMetric(float64(len(blob)), "octets")
	})
}

func BenchmarkDecode(b *testing.B) {
	blob := encode(b, batch(500, 24<<10))
	r, err := NewReader()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var entry Entry
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Reset(blob); err != nil {
			b.Fatal(err)
		}
		for {
			if err := r.Next(&entry); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
