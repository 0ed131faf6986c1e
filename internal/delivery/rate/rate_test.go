package rate_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"directmailer/internal/delivery/rate"
)

const day = 24 * time.Hour

func TestARateIsReadAsPeopleWriteIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]rate.Rate{
		"20/s": {20, time.Second}, "500/min": {500, time.Minute}, "10000/h": {10000, time.Hour},
		"1000 per hour": {1000, time.Hour},
		"2/m":           {2, time.Minute}, " 5 / Second ": {5, time.Second}, "10,000/h": {10000, time.Hour},
		"1,234,567 per day": {1234567, day},
		"1/d":               {1, day}, "007/sec": {7, time.Second}, "3 PER MINUTES": {3, time.Minute},
		"1000000/s":     {1000000, time.Second},
		"86400000000/d": {86400000000, day}, "unlimited": {}, "None": {},
	} {
		got, err := rate.Parse(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
		again, err := rate.Parse(got.String())
		if err != nil || again != got {
			t.Errorf("%q is written %q, which is read %+v, %v", text, got, again, err)
		}
	}
}

func TestWhatIsNoRateIsRefusedWithAReason(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "is not like", "20": "is not like", "/s": "is not like", "20/": "is not like", "20/fortnight": "is not like",
		"20/s/s": "is not like",
		"-1/s":   "is not like", "+1/s": "is not like", "0x10/s": "is not like", "1e3/s": "is not like",
		"10,00/s": "is not like", "1,0000/s": "is not like",
		",100/s": "is not like", "1000,/s": "is not like", "٣/s": "is not like", "1\x00/s": "is not like",
		"20 pers": "is not like",
		"0/s":     "would send nothing", "0.5/s": "has a fraction", "1000001/s": "more than 1000000/s",
		"60000001/min": "more than 1000000/s", "86400000001/d": "more than 1000000/s",
		"99999999999999999999999999/d": "more than 1000000/s",
		strings.Repeat("9", 1000):      "is not like",

		"20" + strings.Repeat(" ", 500) + "/s": "is not like", strings.Repeat("0", 500) + "20/s": "is not like",
	} {
		got, err := rate.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 200 ||
			strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%.40q: got %+v, %v; want an error that says %q", text, got, err, want)
		}
	}
}

func TestTheIntervalNeverExceedsTheRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1/s": time.Second, "3/s": 333333334, "10000/s": 100 * time.Microsecond, "1/d": day, "7/d": 12342857142858,
		"1000000/s": time.Microsecond, "none": 0,
	} {
		r, err := rate.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Interval(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestARateIsTextInJSON(t *testing.T) {
	t.Parallel()
	type rates struct {
		Mailing rate.Rate            `json:"mailing,omitzero"`
		Domains map[string]rate.Rate `json:"domains,omitempty"`
	}
	const text = `{"mailing":"1000/h","domains":{"example.com":"20/s","example.org":"unlimited"}}`
	var r rates
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(r); err != nil || string(got) != text {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := json.Marshal(rates{}); err != nil || string(got) != `{}` {
		t.Errorf("%s, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"mailing":"fast"}`), &r); err == nil {
		t.Error("not a rate, and taken")
	}
}

func TestARateThatCannotBeReadBackIsNotWritten(t *testing.T) {
	t.Parallel()
	for _, r := range []rate.Rate{{1, 0}, {0, time.Second}, {-1, time.Second}, {1, time.Millisecond}, {1, 2 * time.Second},
		{1000001, time.Second}} {
		if text, err := r.MarshalText(); err == nil {
			t.Errorf("%+v is written as %q", r, text)
		}
	}
}

func TestThePackageNeedsOnlyTheStandardLibrary(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-buildvcs=false", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}",
		".").
		CombinedOutput()
	if got := strings.Fields(string(out)); err != nil || len(got) != 1 ||
		got[0] != "directmailer/internal/delivery/rate" {
		t.Errorf("it draws in %q (%v)", got, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"20/s", "10,000 per hour", "unlimited", "99999999999999999999/d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := rate.Parse(text)
		if err != nil {
			if !r.IsZero() {
				t.Errorf("%+v with the error %v", r, err)
			}
			return
		}
		if again, err := rate.Parse(r.String()); err != nil || again != r {
			t.Errorf("%+v is written %q, which is read %+v, %v", r, r, again, err)
		}
		if r.IsZero() {
			return
		}
		i := r.Interval()
		if i <= 0 || r.Count <= 0 || time.Duration(r.Count)*i < r.Per ||
			float64(r.Count)*float64(i-1) >= float64(r.Per) {
			t.Errorf("%+v has the interval %d", r, i)
		}
	})
}
