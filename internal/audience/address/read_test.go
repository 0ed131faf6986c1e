package address_test

import (
	"strings"
	"testing"

	"directmailer/internal/audience/address"
)

// Each text is refused as an opt-out, because what is meant could be another address. A list takes
// the address without the marks, and says what it took off.
func TestMarksThatPastingLeavesAreTakenOffInListsAndRefusedElsewhere(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"‘pat@example.org":          "quotation mark",
		"pat@example.org”":          "quotation mark",
		"„pat@example.org“":         "quotation mark",
		"‹pat@example.org›":         "quotation mark",
		"『pat@example.org』":         "quotation mark",
		`"pat@example.org"`:         "quotation mark",
		`"pat@example.org`:          "quotation mark",
		"'pat@example.org":          "quotation mark",
		"'pat@example.org'":         "quotation mark",
		"pat@example.org'":          "quotation mark",
		"`pat@example.org`":         "quotation mark",
		"´pat@example.org´":         "quotation mark",
		"″pat@example.org″":         "quotation mark",
		"ʼpat@example.org":          "quotation mark",
		"▪pat@example.org":          "bullet",
		"· pat@example.org":         "bullet",
		"* pat@example.org":         "bullet",
		"*pat@example.org":          "bullet",
		"**pat@example.org**":       "bullet",
		"\uf0b7\tpat@example.org":   "bullet",
		"✓ pat@example.org":         "bullet",
		"→pat@example.org":          "bullet",
		"③pat@example.org":          "bullet",
		"・pat@example.org":          "bullet",
		"📧 pat@example.org":         "bullet",
		"▪\ufe0fpat@example.org":    "bullet and an invisible character",
		"—pat@example.org":          "dash",
		"- pat@example.org":         "dash",
		"−pat@example.org":          "dash",
		"ーpat@example.org":          "dash",
		"‑pat@example.org":          "dash",
		"pat@example.org–":          "dash",
		"pat@example.orgー":          "dash",
		"pat@example.org -":         "dash",
		"\ufeffpat@example.org":     "invisible",
		"\u200bpat@example.org":     "invisible",
		"pat@example.org\u200e":     "invisible",
		"pat@example.org\u00ad":     "dash",
		"pat@example.org\u200d":     "invisible",
		"\u2060pat@example.org":     "invisible",
		"\u3164pat@example.org":     "invisible",
		"pat@example.org\ufe0f":     "invisible",
		"\u2800pat@example.org":     "invisible",
		"\u202apat@example.org":     "invisible",
		"– “pat@example.org”\u200b": "dash",
	} {
		if a, err := address.Read(in); err == nil {
			t.Errorf("Read(%q) takes %s", in, a)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pat") {
			t.Errorf("Read(%q): %v, want %q", in, err, want)
		}
		a, taken, err := address.ReadPasted(in)
		if err != nil || a.String() != "pat@example.org" || !strings.Contains(taken, want) {
			t.Errorf("ReadPasted(%q) = %s, %q, %v, want %q", in, a, taken, err, want)
		}
	}
}

// A report writes an apostrophe before = + and -.
func TestTheApostropheOfAReportIsTakenOff(t *testing.T) {
	t.Parallel()
	for _, want := range []string{"-pat@example.org", "=pat@example.org", "+pat@example.org", "-=+@example.org"} {
		for _, in := range []string{want, "'" + want, " '" + want + " "} {
			if a, err := address.Read(in); err != nil || a.String() != want {
				t.Errorf("Read(%q) = %s, %v", in, a, err)
			}
			if a, taken, err := address.ReadPasted(in); err != nil || a.String() != want || taken != "" {
				t.Errorf("ReadPasted(%q) = %s, %q, %v", in, a, taken, err)
			}
		}
	}
	for _, pasted := range []string{"'-pat@example.org'", "“-pat@example.org”", "“'-pat@example.org”"} {
		if a, taken, err := address.ReadPasted(pasted); err != nil || a.String() != "-pat@example.org" || taken == "" {
			t.Errorf("ReadPasted(%q) = %s, %q, %v", pasted, a, taken, err)
		}
	}
	for _, exact := range []string{`"'pat"@example.org`, `"'-pat"@example.org`, `"*"@example.org`} {
		if a, err := address.Read(exact); err != nil || a.String() != exact {
			t.Errorf("Read(%q) = %s, %v: an apostrophe in double quotes is a part of the address", exact, a, err)
		}
	}
}

func TestWhatIsNoAddressIsRefusedInListsToo(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"pat@example.org®":                       "no domain name has: a symbol (U+00AE)",
		"pat@example.org³":                       "no domain name has",
		"pat@example.org…":                       "no domain name has",
		"pat@example.org¹":                       "no domain name has",
		"pat@ｅxample.org":                        "no domain name has: another form of a letter (U+FF45)",
		"pat@İ.example":                          "no domain name has",
		"pat@☕.example":                          "no domain name has: a symbol (U+2615)",
		"pat@xn--53h.example":                    "damaged",
		"pat@xn--invalid-.example":               "hyphen",
		"pat@a_b.example":                        "no domain name has: an underscore",
		"pat@example.org.":                       "ends with a dot",
		"pat@.example.org":                       "begins with a dot",
		"pat@example..org":                       "two dots in a row",
		"pat@-x.example":                         "hyphen",
		"pat@x-.example":                         "hyphen",
		"pat@ab--c.example":                      "--",
		"pat@exam·ple.example":                   "no domain name has",
		"pat@example.org一":                       "two scripts",
		"pat@example.соm":                        "two scripts",
		"p’at@example.org":                       "not allowed there: a quotation mark (U+2019)",
		"p—at@example.org":                       "not allowed there: a dash (U+2014)",
		"pat…@example.org":                       "not allowed there: a symbol (U+2026)",
		"pat@exam\u200cple.example":              "not allowed together",
		"p\u200bat@example.org":                  "invisible",
		"p\u3164at@example.org":                  "invisible",
		"ｐat@example.org":                        "another form of a letter (U+FF50)",
		"patª@example.org":                       "another form of a letter",
		"pat€@example.org":                       "a symbol (U+20AC)",
		"pat½@example.org":                       "a symbol (U+00BD)",
		"\u0301pat@example.org":                  "combining mark",
		"“pat”@example.org":                      "quotation mark",
		"'pat'@example.org":                      "apostrophe",
		"?pat\ufffd@example.org":                 "invisible",
		"pat＠example.org":                        "in place of the @",
		"pat@example。org":                        "in place of a dot",
		"pat@@example.org":                       "the @ more than once",
		"pat@example.org, lee@example.org":       "more than one address",
		"pat@example.org;lee@example.org":        "more than one address",
		"pat@example.org | lee@example.org":      "more than one address",
		"pat@example.org\nlee@example.org":       "more than one address",
		"pat@example.org and 'lee@example.org'":  "more than one address",
		"Pat <pat@example.org>, lee@example.org": "more than one address",
		"Pat Lee <pat@example.org>":              "name or other text beside it",
		`"Lee, Pat" <pat@example.org>`:           "name or other text beside it",
		"pat@example.org (Pat)":                  "name or other text beside it",
		"Pat: pat@example.org":                   "name or other text beside it",
		"pat@example.org\nPat":                   "line break",
		"<pat@example.org>":                      "brackets",
		"[pat@example.org]":                      "brackets",
		"?pat@example.org":                       "begins with ?",
		"{pat@example.org":                       "brackets",
		"|pat@example.org":                       "begins with |",
		"MAILTO:pat@example.org?subject=stop":    "mailto",
		"mailto:pat@example.org":                 "mailto",
		"pat..lee@example.org":                   "two dots in a row before the @",
		"pat.@example.org":                       "dot right before the @",
		".pat@example.org":                       "begins with a dot",
		"pat @example.org":                       "blank before the @",
		"pat@ example.org":                       "no domain name has: a blank",
	} {
		a, taken, err := address.ReadPasted(in)
		if err == nil {
			t.Errorf("%q was taken as %s (%s)", in, a, taken)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pat") {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestLettersMarksAndDigitsOfEveryScriptAreTaken(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"zoë.müller@example.org":          "zoë.müller@example.org",
		"संपर्क@डाटामेल.भारत":             "संपर्क@xn--c2bd4bq1db8d.xn--h2brj9c",
		"ทองคำ@example.org":               "ทองคำ@example.org",
		"пример٣@example.org":             "пример٣@example.org",
		"サーバー@example.org":                "サーバー@example.org",
		"oʼneil@example.org":              "oʼneil@example.org",
		"pat@SCHLOẞ.example":              "pat@xn--schlo-pqa.example",
		"pat@col·lega.example":            "pat@xn--collega-xma.example",
		"pat@日本・東京.example":               "pat@xn--vekv70gs3pnfb5j.example",
		"pat@نامه\u200cای.example":        "pat@xn--mgba3gch31f060k.example",
		"_pat_@example.org":               "_pat_@example.org",
		"pat-@example.org":                "pat-@example.org",
		"pat@7.example.org":               "pat@7.example.org",
		`"pat..lee."@example.org`:         `"pat..lee."@example.org`,
		"pat+news=x@EXAMPLE.org":          "pat+news=x@example.org",
		"pat@cafe\u0301.example":          "pat@xn--caf-dma.example",
		"pat@xn--caf-dma.example":         "pat@xn--caf-dma.example",
		"pat@\u05d0\u05d1\u05d2.example":  "pat@xn--4dbcd.example",
		"pat@XN--CAF-DMA.example":         "pat@xn--caf-dma.example",
		"\u00a0 pat@example.org \t\u3000": "pat@example.org",
	} {
		if a, taken, err := address.ReadPasted(in); err != nil || a.String() != want || taken != "" {
			t.Errorf("%q: got %s, %q, %v", in, a, taken, err)
		}
	}
}

// FuzzRead: what a list takes reads back as itself wherever an address is read. What is taken with
// marks around it is refused elsewhere.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"“pat@example.org”", "'-pat@example.org", "'pat'@example.org", "- pat@example.org", "▪\ufe0fpat@example.org",
		`"“pat"@example.org`, "''=@example.org'", "pat@example.orgー", "*\"a b\"@example.org*", "pat@נ״א.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, taken, err := address.ReadPasted(in)
		strict, refused := address.Read(in)
		if (refused == nil) != (err == nil && taken == "") || refused == nil && strict != a {
			t.Fatalf("%q: a list takes %q without %q (%v), others %q (%v)", in, a, taken, err, strict, refused)
		}
		if err != nil {
			if len(in) > 3 && strings.Contains(err.Error(), in) {
				t.Fatalf("the error quotes the address: %v", err)
			}
			return
		}
		for _, text := range []string{a.String(), " " + a.String() + "\n", "“" + a.String() + "”"} {
			if again, _, err := address.ReadPasted(text); err != nil || again != a {
				t.Fatalf("%q became %q, and %q became %q, %v", in, a, text, again, err)
			}
		}
		// A report's apostrophe is undone.
		if strings.ContainsAny(a.String()[:1], "=+-@") {
			if again, err := address.Read("'" + a.String()); err != nil || again != a {
				t.Fatalf("%q in a report is %q, %v", a, again, err)
			}
		}
	})
}
