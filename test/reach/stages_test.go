package reach

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"directmailer/internal/content/dkim"
	"directmailer/internal/content/dkim/dkimtest"
	"directmailer/internal/content/render"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/spool"
)

// BenchmarkStages measures each stage of a message in the worker, on the newsletter of TestReach.
// BenchmarkGate in internal/ledger measures the ledger, BenchmarkRead in
// internal/audience/field the reading of recipients.
func BenchmarkStages(b *testing.B) {
	for _, size := range []int{20_000, 2_000} {
		content := newsletter(b, size)
		octets := sizeOf(b, content)
		spec := render.Spec{Mailing: "bench",
			From: "The Harbour Gazette <gazette@example.com>", Subject: "{{.first_name}}, the week in {{.city}}",
			Text: content.Text, HTML: content.HTML, ListID: "people.example.com", Date: time.Now()}
		template, problems := render.Compile(spec)
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		const batch = 500
		var recipients []render.Recipient
		list := readers{n: batch}
		for n := int32(1); ; n++ {
			m, err := list.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			r := render.Recipient{Number: n, Address: m.Address.String()}
			if err := json.Unmarshal(m.Attributes, &r.Attributes); err != nil {
				b.Fatal(err)
			}
			recipients = append(recipients, r)
		}
		run := func(name string, stage func(i int)) {
			b.Run(fmt.Sprintf("%d/%s", octets, name), func(b *testing.B) {
				b.ReportAllocs()
				before := ownCPU()
				for i := 0; b.Loop(); i++ {
					stage(i % batch)
				}
				b.ReportMetric(float64((ownCPU()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
		renderer := template.NewRenderer(b.Context())
		var data []byte
		run("render and compose", func(i int) {
			var err error
			if data, _, err = renderer.Render(data[:0], recipients[i]); err != nil {
				b.Fatal(err)
			}
		})
		for _, signed := range []struct {
			by         string
			algorithms []dkim.Algorithm
		}{
			{"unsigned", nil}, {"Ed25519", []dkim.Algorithm{dkim.Ed25519}}, {"RSA", []dkim.Algorithm{dkim.RSA}},
			{"RSA and Ed25519", []dkim.Algorithm{dkim.RSA, dkim.Ed25519}},
		} {
			spec.Signer = dkimtest.Keys(b, "example.com", signed.algorithms...).For("example.com")
			template, problems := render.Compile(spec)
			if len(problems) > 0 {
				b.Fatal(problems)
			}
			renderer := template.NewRenderer(b.Context())
			encoder, err := spool.NewEncoder()
			if err != nil {
				b.Fatal(err)
			}
			run("render and spool, "+signed.by, func(i int) { // what RenderBatch does, without the database
				if i == 0 {
					encoder.Reset()
				}
				if data, _, err = renderer.Render(data[:0], recipients[i]); err == nil {
					err = encoder.Add(&spool.Entry{Recipient: recipients[i].Number, To: recipients[i].Address, Data: data})
				}
				if err != nil {
					b.Fatal(err)
				}
			})
		}
		var entries []spool.Entry
		for _, r := range recipients {
			data, _, err := renderer.Render(nil, r)
			if err != nil {
				b.Fatal(err)
			}
			entries = append(entries, spool.Entry{Recipient: r.Number, From: "gazette@example.com", To: r.Address,
				Data: data})
		}
		encoder, err := spool.NewEncoder()
		if err != nil {
			b.Fatal(err)
		}
		var blob []byte
		run("spool", func(i int) {
			if i == 0 {
				encoder.Reset()
			}
			if err := encoder.Add(&entries[i]); err != nil {
				b.Fatal(err)
			}
			if i == batch-1 {
				if blob, err = encoder.Finish(); err != nil {
					b.Fatal(err)
				}
			}
		})
		encoder.Reset()
		for i := range entries {
			if err := encoder.Add(&entries[i]); err != nil {
				b.Fatal(err)
			}
		}
		if blob, err = encoder.Finish(); err != nil {
			b.Fatal(err)
		}
		reader, err := spool.NewReader()
		if err != nil {
			b.Fatal(err)
		}
		var entry spool.Entry
		run("unspool", func(i int) {
			if i == 0 {
				if err := reader.Reset(blob); err != nil {
					b.Fatal(err)
				}
			}
			if err := reader.Next(&entry); err != nil {
				b.Fatal(err)
			}
		})
		for _, ahead := range []bool{false, true} {
			s := startSink(b)
			config, err := droppoint.Parse("mx",
				fmt.Sprintf("smtp://%s?tls=none&messages=0&next_behind_dot=%v", s.addr, ahead))
			if err != nil {
				b.Fatal(err)
			}
			set := droppoint.NewSet([]droppoint.Config{config})
			dropPoint, _ := set.Get("mx")
			conn, err := dropPoint.Acquire(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			var messages []droppoint.Message
			for _, e := range entries {
				messages = append(messages, droppoint.Message{From: e.From, To: e.To, Data: e.Data})
			}
			name := "send"
			if ahead {
				name = "send, next behind the dot"
			}
			b.Run(fmt.Sprintf("%d/%s", octets, name), func(b *testing.B) {
				b.ReportAllocs()
				before := ownCPU()
				for i := 0; b.Loop(); i++ {
					if err := conn.Begin(b.Context(), &messages[i%batch]); err != nil {
						b.Fatal(err)
					}
					if _, err := conn.Finish(&messages[(i+1)%batch]); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((ownCPU()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
				conn.Abort()
				conn, _ = dropPoint.Acquire(b.Context())
			})
			conn.Release()
			set.Close()
		}
	}
}
