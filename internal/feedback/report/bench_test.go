package report

import (
	"os"
	"path/filepath"
	"testing"

	"directmailer/internal/feedback/token/tokentest"
)

// BenchmarkRealBounces reads the folder of real bounces again and again.
func BenchmarkRealBounces(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(bounceFolder(b), "messages", "*.eml"))
	if err != nil {
		b.Fatal(err)
	}
	benchmarkFiles(b, files)
}

// BenchmarkSamples reads the samples of this project.
func BenchmarkSamples(b *testing.B) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.eml"))
	if err != nil {
		b.Fatal(err)
	}
	benchmarkFiles(b, files)
}

func benchmarkFiles(b *testing.B, files []string) {
	var messages [][]byte
	size := 0
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		messages = append(messages, data)
		size += len(data)
	}
	rd := Reader{Keys: tokentest.Keys(b, "a", "b")}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		rd.Read(messages[n%len(messages)])
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "reports/s")
	b.ReportMetric(float64(size)/float64(len(messages)), "octets/report")
}
