package status

import (
	"fmt"
	"io"

	"directmailer/internal/feedback/events"
	"directmailer/starter/internal/output"
)

// eventNames say what each class of events means, for people.
var eventNames = map[events.Class]string{
	events.Hard:        "bounced later, for good",
	events.Soft:        "bounced later, for now",
	events.Complaint:   "complained",
	events.Unsubscribe: "unsubscribed",
	events.Automatic:   "answered automatically",
	events.Delayed:     "delayed",
	events.Delivered:   "reported as delivered",
}

// eventsOf returns the classes of events that some recipient has.
func eventsOf(c events.Counts) (all []outcome) {
	for _, class := range events.Classes() {
		if n := c.Of(class); n > 0 {
			all = append(all, outcome{eventNames[class], n})
		}
	}
	return all
}

// renderEvents shows what came back after the ledger had its outcomes. There is no sum: a recipient
// may be in several lines, and is in the ledger as well.
func (s *Status) renderEvents(w io.Writer) {
	all := eventsOf(s.Events)
	if len(all) == 0 {
		return
	}
	output.Table[outcome]{
		{Title: "Events, beside the ledger", Cell: func(o outcome) string { return o.name }},
		{Title: "recipients", Cell: func(o outcome) string { return output.Thousands(o.n) }, Right: true},
	}.Render(w, all)
	fmt.Fprintf(w, "`starter report %s --events` names them\n", s.ID)
}
