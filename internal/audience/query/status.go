package query

import (
	"strings"

	"directmailer/internal/audience/member"
	"directmailer/internal/audience/statuscolumn"
)

// statusColumns looks for columns that say who may be mailed among those of a query.
func statusColumns(mapping []member.Column) (columns []*statuscolumn.Column) {
	for _, c := range mapping {
		columns = append(columns, statuscolumn.New(c.Header))
	}
	return columns
}

// checkStatus refuses an answer with people who must not be mailed. The author of the query decides
// about them: nobody is left out or mailed by a guess.
func (r *Rows) checkStatus() error {
	var found []string
	for i, c := range r.status {
		if c.Found() {
			found = append(found, c.Report(i+1).WithoutData().String())
		}
	}
	if len(found) == 0 {
		return nil
	}
	return r.fault("%s: select only the people who may be mailed (WHERE …), or do not select the column",
		strings.Join(found, "; "))
}
