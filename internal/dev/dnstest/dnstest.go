// Package dnstest is a DNS server for tests, on the loopback.
package dnstest

import (
	"maps"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Zone is what a DNS server answers, by a name and a type ("example.com TXT"): the records in the
// format of a zone file, one a line, or "SERVFAIL" or "REFUSED".
type Zone map[string]string

// With returns the zone with other records of a name and a type.
func (z Zone) With(name, records string) Zone {
	other := maps.Clone(z)
	other[name] = records
	return other
}

// Serve has the handler, such as a Zone, answer questions on the loopback by UDP and TCP, and
// returns the address.
func Serve(t *testing.T, h dns.Handler) string {
	t.Helper()
	packets, streams := listen(t)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: h}, {Listener: streams, Handler: h}} {
		done := make(chan struct{})
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			_ = server.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-done
		})
	}
	return packets.LocalAddr().String()
}

// listen finds a port that is free for UDP and for TCP.
func listen(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		streams, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, streams
		}
		t.Cleanup(func() { _ = packets.Close() }) // another program has the TCP port
	}
}

// ServeDNS answers a question.
func (z Zone) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg).SetReply(question)
	q := question.Question[0]
	name := strings.TrimSuffix(strings.ToLower(q.Name), ".")
	answer.Rcode = dns.RcodeNameError
	for key, records := range z {
		of, kind, _ := strings.Cut(key, " ")
		if of != name {
			continue
		}
		answer.Rcode = dns.RcodeSuccess
		if kind != dns.TypeToString[q.Qtype] && kind != "CNAME" {
			continue
		}
		switch records {
		case "SERVFAIL", "REFUSED":
			answer.Rcode = dns.StringToRcode[records]
			_ = w.WriteMsg(answer)
			return
		}
		for line := range strings.Lines(records) {
			rr, err := dns.NewRR(q.Name + " 60 IN " + kind + " " + line)
			if err != nil {
				panic(err)
			}
			answer.Answer = append(answer.Answer, rr)
		}
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		answer.Truncate(512)
	}
	_ = w.WriteMsg(answer)
}

// Quoted writes a text as the strings of a TXT record, in the format of a zone file.
func Quoted(text string) string {
	var parts []string
	for len(text) > 200 {
		parts, text = append(parts, `"`+text[:200]+`"`), text[200:]
	}
	return strings.Join(append(parts, `"`+text+`"`), " ") + "\n"
}
