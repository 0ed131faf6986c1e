package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// samples returns the samples of this project by name, and what each amounts to.
func samples(t testing.TB) (data map[string][]byte, want map[string]string) {
	t.Helper()
	table, err := os.ReadFile(filepath.Join("testdata", "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	data, want = map[string][]byte{}, map[string]string{}
	for line := range strings.Lines(string(table)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		file, findings, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if data[file], err = os.ReadFile(filepath.Join("testdata", file)); err != nil {
			t.Fatal(err)
		}
		want[file] = findings
	}
	return data, want
}

func findingsOf(r *Report) string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, strings.TrimSpace(f.Class.String()+" "+f.Enhanced))
	}
	return strings.Join(all, ", ")
}

func TestEachFormOfReportIsRead(t *testing.T) {
	data, want := samples(t)
	if len(data) < 90 {
		t.Errorf("%d samples", len(data))
	}
	for file := range data {
		t.Run(file, func(t *testing.T) {
			if got := findingsOf(Reader{}.Read(data[file])); got != want[file] {
				t.Errorf("read as %s, want %s", got, want[file])
			}
		})
	}
}

// Mail comes with either kind of line ends, out of mbox files, and with fields of the way.
func TestTheWayOfAReportChangesNothing(t *testing.T) {
	data, want := samples(t)
	for file, d := range data {
		for way, changed := range map[string]string{
			"CRLF":          strings.ReplaceAll(string(d), "\n", "\r\n"),
			"old Mac":       strings.ReplaceAll(string(d), "\n", "\r"),
			"mbox":          "From MAILER-DAEMON Mon Nov 30 09:05:00 2026\n" + string(d),
			"Received":      "Received: from a.example by b.example; Mon, 30 Nov 2026 09:06:00 +0000\n" + string(d),
			"leading lines": "\n\n" + string(d),
			"a last line":   string(d) + "\n",
		} {
			if file == "empty.eml" || file == "no-header.eml" {
				continue
			}
			r := Reader{}.Read([]byte(changed))
			if got := findingsOf(r); got != want[file] {
				t.Errorf("%s, %s: read as %s, want %s", file, way, got, want[file])
			}
			if r.ID != (Reader{}).Read(d).ID {
				t.Errorf("%s, %s: another ID", file, way)
			}
		}
	}
}

func TestReportsHaveIDsOfTheirOwn(t *testing.T) {
	data, _ := samples(t)
	seen := map[string]string{}
	for file, d := range data {
		r := Reader{}.Read(d)
		if other := seen[r.ID]; other != "" {
			t.Errorf("%s and %s have one ID", file, other)
		}
		seen[r.ID] = file
		if len(r.ID) != 32 {
			t.Errorf("%s: the ID is %q", file, r.ID)
		}
	}
}

func TestADiagnosticHoldsNoAddress(t *testing.T) {
	data, _ := samples(t)
	quoted := 0
	for file, d := range data {
		for _, f := range (Reader{}).Read(d).Findings {
			if strings.Contains(f.Diagnostic, "@") || strings.Contains(strings.ToLower(f.Diagnostic), "anna") {
				t.Errorf("%s: the diagnostic is %q", file, f.Diagnostic)
			}
			if len([]rune(f.Diagnostic)) > 170 {
				t.Errorf("%s: the diagnostic has %d characters", file, len([]rune(f.Diagnostic)))
			}
			if f.Diagnostic != "" {
				quoted++
			}
		}
	}
	if quoted < 60 {
		t.Errorf("%d diagnostics", quoted)
	}
}
