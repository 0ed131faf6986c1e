package sender_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
)

// BenchmarkSend measures one batch of 100 messages on the whole way through the package: queue,
// connection, gate and answer. The server does next to nothing, so the allocations are those of the
// sender, the client and the ledger's driver.
func BenchmarkSend(b *testing.B) {
	const connections = 8
	for _, behind := range []bool{false, true} {
		b.Run(fmt.Sprintf("next_behind_dot=%v", behind), func(b *testing.B) {
			r := newRig(b, fmt.Sprintf("connections=%d&next_behind_dot=%v", connections, behind), nil)
			config, err := droppoint.Parse("mx",
				fmt.Sprintf("smtp://%s?tls=none&messages=0&connections=%d&next_behind_dot=%v",
					nullServer(b), connections, behind))
			if err != nil {
				b.Fatal(err)
			}
			set := droppoint.NewSet([]droppoint.Config{config})
			b.Cleanup(set.Close)
			dropPoint, _ := set.Get("mx")
			body := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 24<<10/78)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				batch := benchBatch(r, fmt.Sprint("m", b.N, "-", n), body)
				batch.DropPoints = []sender.DropPoint{{DropPoint: dropPoint}}
				b.StartTimer()
				if report, err := sender.New(batch).Run(b.Context()); err != nil || !report.Complete {
					b.Fatalf("%+v, %v", report, err)
				}
			}
			b.ReportMetric(float64(b.N*recipients)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// benchBatch returns a new batch whose messages all have the body.
func benchBatch(r *rig, mailing, body string) sender.Batch {
	n := 0
	return r.batch(r.claim(mailing, false), func(b *sender.Batch) {
		b.Next = func(buf []byte) (sender.Message, error) {
			if n++; n > recipients {
				return sender.Message{}, io.EOF
			}
			return sender.Message{Recipient: int32(n), Message: droppoint.Message{
				From: "a@example.com", To: "r@example.com", Name: "m", Data: append(buf[:0], body...)}}, nil
		}
	})
}

// nullServer returns the address of a server that accepts every message and keeps none.
func nullServer(b *testing.B) string {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go acceptAll(conn)
		}
	}()
	return listener.Addr().String()
}

func acceptAll(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	out := []byte("220 null\r\n")
	for body := false; ; {
		if r.Buffered() == 0 && len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case body:
			if len(line) == 3 && line[0] == '.' {
				body, out = false, append(out, "250 2.0.0 ok\r\n"...)
			}
		case line[0] == 'E':
			out = append(out, "250-null\r\n250 PIPELINING\r\n"...)
		case line[0] == 'D':
			body, out = true, append(out, "354 go on\r\n"...)
		default:
			out = append(out, "250 2.1.0 ok\r\n"...)
		}
	}
}
