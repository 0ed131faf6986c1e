package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// score adds results up.
type score struct {
	Mutants      int  `json:"mutants"`
	Noticed      int  `json:"noticed"`
	Grave        int  `json:"grave"`
	GraveNoticed int  `json:"grave_noticed"`
	Stale        int  `json:"stale"`
	Seconds      int  `json:"seconds"`
	OK           bool `json:"ok"`

	kinds []kindScore
}

type kindScore struct {
	kind                string
	all, noticed, grave int
}

func sum(results []result) score {
	var s score
	for _, r := range results {
		i := slices.IndexFunc(s.kinds, func(k kindScore) bool { return k.kind == r.Kind })
		if i < 0 {
			i = len(s.kinds)
			s.kinds = append(s.kinds, kindScore{kind: r.Kind})
		}
		k := &s.kinds[i]
		s.Mutants++
		k.all++
		if r.Grave != "" {
			s.Grave++
			k.grave++
		}
		switch r.state {
		case noticed:
			s.Noticed++
			k.noticed++
			if r.Grave != "" {
				s.GraveNoticed++
			}
		case stale:
			s.Stale++
		}
	}
	slices.SortFunc(s.kinds, func(a, b kindScore) int { return strings.Compare(a.kind, b.kind) })
	s.OK = s.Stale == 0 && s.Grave == s.GraveNoticed && s.Noticed*100 >= s.Mutants*least
	return s
}

// table is in Markdown, and aligned.
func (s score) table() string {
	width := len("**all**")
	for _, k := range s.kinds {
		width = max(width, len(k.kind))
	}
	var b strings.Builder
	row := func(kind string, all, noticed, grave any) {
		fmt.Fprintf(&b, "| %-*s | %7v | %7v | %5v |\n", width, kind, all, noticed, grave)
	}
	row("kind", "mutants", "noticed", "grave")
	fmt.Fprintf(&b, "|%s|---------|---------|-------|\n", strings.Repeat("-", width+2))
	for _, k := range s.kinds {
		row(k.kind, k.all, k.noticed, k.grave)
	}
	row("**all**", s.Mutants, s.Noticed, s.Grave)
	return b.String()
}

// faults names the mutants that went unnoticed or are stale.
func (s score) faults(results []result) string {
	var b strings.Builder
	for _, r := range results {
		if r.state == noticed {
			continue
		}
		grave := ""
		if r.Grave != "" {
			grave = ", " + r.Grave
		}
		fmt.Fprintf(&b, "- %s: `%s` (%s%s): %s", strings.ToLower(string(r.state)), r.ID, r.File, grave, r.Breaks)
		if r.by != "" {
			fmt.Fprintf(&b, ": %s", r.by)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (s score) json() string {
	text, _ := json.Marshal(s) // numbers only
	return string(text)
}

const begins, ends = "<!-- mutants: written by make mutants -->", "<!-- mutants: end -->"

func (s score) section(results []result) string {
	text := fmt.Sprintf("On %s: %d of %d mutants were noticed (%.1f %%), %d of %d grave ones.\n\n%s\n",
		time.Now().Format(time.DateOnly), s.Noticed, s.Mutants, 100*float64(s.Noticed)/float64(s.Mutants),
		s.GraveNoticed, s.Grave, s.table())
	if faults := s.faults(results); faults != "" {
		text += faults + "\n"
	}
	return text + "```json\n" + s.json() + "\n```\n"
}

// writeSection replaces what stands between the two marks of a file.
func writeSection(file, text string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, found := strings.Cut(string(data), begins)
	_, tail, complete := strings.Cut(rest, ends)
	if !found || !complete {
		return fmt.Errorf("%s: the marks %q and %q are missing", file, begins, ends)
	}
	return os.WriteFile(file, []byte(head+begins+"\n\n"+text+"\n"+ends+tail), 0o644)
}
