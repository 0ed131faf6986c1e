package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var half = flag.String("bounces", "all", "the real bounces to judge: all, even or odd ones of the folder")

// bounceFolder returns the folder of real bounces, which is beside the project and no part of it.
func bounceFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			break
		}
		if folder == filepath.Dir(folder) {
			t.Fatal("no go.mod above this package")
		}
	}
	folder = filepath.Join(filepath.Dir(folder), "shared", "bounces")
	if _, err := os.Stat(filepath.Join(folder, "expected.tsv")); err != nil {
		t.Skipf("SKIPPED, real bounces are not read: %s is not there", folder)
	}
	return folder
}

// expectation is a row of expected.tsv.
type expectation struct {
	file, status, reason string
	hard                 bool
}

func expectations(t testing.TB, folder string) (all []expectation) {
	t.Helper()
	table, err := os.ReadFile(filepath.Join(folder, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) != 5 {
			t.Fatalf("expected.tsv: not a row: %q", line)
		}
		if c[0] != "file" {
			all = append(all, expectation{c[0], c[1], c[3], c[4] == "1"})
		}
	}
	return all
}

// class returns the class that a reason amounts to.
func (e *expectation) class() Class {
	switch e.reason {
	case "feedback":
		return Complaint
	case "vacation":
		return Automatic
	case "delivered":
		return Delivered
	}
	if e.hard {
		return Hard
	}
	return Soft
}

// rightClass allows what the columns do not tell: a report that says that the server tries again is
// Delayed, and a reason that nobody has found may be Unknown.
func (e *expectation) rightClass(got Class, data []byte) bool {
	switch {
	case got == e.class():
		return true
	case got == Delayed && !e.hard:
		return bytes.Contains(bytes.ToLower(data), []byte("delayed"))
	case got == Automatic && e.reason == "feedback": // not about the recipient
		return bytes.Contains(data, []byte("Feedback-Type: auth-failure"))
	case got == Unknown:
		return e.reason == "undefined" || e.reason == "onhold"
	}
	return false
}

func TestRealBouncesAreOfTheRightClass(t *testing.T) {
	folder := bounceFolder(t)
	rows := expectations(t, folder)
	var files []string
	for _, e := range rows {
		if !slices.Contains(files, e.file) {
			files = append(files, e.file)
		}
	}
	var side, class, total, falselyHard int
	for i, file := range files {
		if *half == "even" && i%2 == 0 || *half == "odd" && i%2 == 1 {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, "messages", file))
		if err != nil {
			t.Fatal(err)
		}
		r := Reader{}.Read(data)
		var of []expectation
		for _, e := range rows {
			if e.file == file {
				of = append(of, e)
			}
		}
		for n, e := range of {
			f := r.Findings[min(n, len(r.Findings)-1)]
			total++
			what := ""
			if (f.Class == Hard) == e.hard {
				side++
			} else {
				what = "wrong side"
			}
			if e.rightClass(f.Class, data) {
				class++
			} else if what == "" {
				what = "wrong class"
			}
			if f.Class == Hard && slices.Contains([]string{"feedback", "vacation", "delivered"}, e.reason) {
				falselyHard++
				what = "no bounce, and taken for a hard one"
			}
			if what != "" {
				t.Logf("%s: %s: %s %v, want %s (%s %s)", file, what, f.Class, f.Enhanced, e.class(), e.reason, e.status)
			}
		}
	}
	t.Logf("%d rows (%s): the same side %.1f %%, the right class %.1f %%", total, *half, percent(side, total),
		percent(class, total))
	if percent(side, total) < 97 || percent(class, total) < 95 {
		t.Error("too few are of the right side and class")
	}
	if falselyHard > 0 {
		t.Errorf("%d are no bounces, and taken for hard ones", falselyHard)
	}
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(of) }
