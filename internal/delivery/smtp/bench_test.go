package smtp_test

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

// sink is a server that does next to nothing, so that a benchmark measures the client.
func sink(b *testing.B, extensions string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		r := bufio.NewReaderSize(nc, 64<<10)
		var out []byte
		out = append(out, "220 sink\r\n"...)
		body := false
		for {
			if r.Buffered() == 0 && len(out) > 0 {
				if _, err := nc.Write(out); err != nil {
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
					body, out = false, append(out, "250 2.0.0 Ok: queued as 4bXyZ1234\r\n"...)
				}
			case line[0] == 'E':
				out = append(out, "250-sink\r\n"+extensions+"250 SIZE\r\n"...)
			case line[0] == 'D':
				body, out = true, append(out, "354 go on\r\n"...)
			default:
				out = append(out, "250 2.1.0 ok\r\n"...)
			}
		}
	}()
	return listener.Addr().String()
}

func BenchmarkClient(b *testing.B) {
	line := strings.Repeat("x", 76) + "\r\n"
	data := []byte("Subject: x\r\n\r\n" + strings.Repeat(line, 24<<10/len(line)))
	for _, test := range []struct {
		name, extensions string
		behind           bool
	}{
		{"step_by_step", "", false},
		{"pipelined", "250-PIPELINING\r\n", false},
		{"next_behind_dot", "250-PIPELINING\r\n", true},
	} {
		b.Run(test.name, func(b *testing.B) {
			c, err := smtp.Dial(b.Context(), smtp.Options{Addr: sink(b, test.extensions), NextBehindDot: test.behind,
				Timeouts: smtp.Timeouts{Dot: time.Minute}})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			m := [2]*smtp.Message{{From: "a@example.com", To: "b@example.org", Data: data},
				{From: "a@example.com", To: "c@example.org", Data: data}}
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			b.ResetTimer()
			for i := range b.N {
				if err := c.Begin(ctx, m[i%2]); err != nil {
					b.Fatal(err)
				}
				next := m[(i+1)%2]
				if i+1 == b.N {
					next = nil
				}
				if _, err := c.Finish(next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

func BenchmarkSend(b *testing.B) {
	for name, o := range map[string]struct {
		server smtptest.Options
		client smtp.Options
	}{
		"pipelined":       {},
		"next_behind_dot": {client: smtp.Options{NextBehindDot: true}},
		"step_by_step":    {server: smtptest.Options{NoPipeline: true}},
	} {
		b.Run(name, func(b *testing.B) {
			s := smtptest.Start(b, o.server)
			o.client.Addr = s.Addr()
			c, err := smtp.Dial(b.Context(), o.client)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			data := []byte("Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 24<<10/78))
			m := [2]*smtp.Message{{From: "a@example.com", To: "b@example.org", Data: data},
				{From: "a@example.com", To: "c@example.org", Data: data}}
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			b.ResetTimer()
			for i := range b.N {
				if err := c.Begin(context.Background(), m[i%2]); err != nil {
					b.Fatal(err)
				}
				next := m[(i+1)%2]
				if i+1 == b.N {
					next = nil
				}
				if _, err := c.Finish(next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
