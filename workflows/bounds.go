package workflows

import (
	"fmt"
	"strings"
)

// Limits of the lists of an input, in entries.
const (
	MaxDropPoints  = 100  // drop_points and rates.drop_points
	MaxHeaders     = 50   // headers
	MaxPageHosts   = 100  // content.page_hosts
	MaxDomainRates = 1000 // rates.domains
)

// MaxProblems is the number of problems that a refusal reports, and maxProblem the length of the
// field and of the message of each, in octets. So Temporal can carry every refusal.
const (
	MaxProblems = 100
	maxProblem  = 1000
)

// Bounded returns problems in a number and length that Temporal can carry. If there are more than
// [MaxProblems], the last one says how many are left out.
func Bounded(problems []Problem) []Problem {
	more := len(problems) - MaxProblems
	if more > 0 {
		problems = problems[:MaxProblems:MaxProblems]
	}
	for i, p := range problems {
		if short := (Problem{shortened(p.Field), shortened(p.Message)}); short != p {
			problems = append([]Problem(nil), problems...) // the caller keeps the original
			problems[i] = short
		}
	}
	if more > 0 {
		text := fmt.Sprintf("%s. %d further problems are left out: correct these first",
			problems[MaxProblems-1].Message, more)
		problems = append([]Problem(nil), problems...)
		problems[MaxProblems-1].Message = text
	}
	return problems
}

func shortened(s string) string {
	if len(s) <= maxProblem {
		return s
	}
	return strings.ToValidUTF8(s[:maxProblem], "") + "…"
}
