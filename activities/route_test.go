package activities

import (
	"testing"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/workflows"
)

// Only the mailing knows what other workers have seen of a drop point.
func TestABatchIsToldWhatTheMailingKnowsOfItsDropPoints(t *testing.T) {
	t.Parallel()
	set := droppoint.NewSet([]droppoint.Config{{Name: "drop", Dir: t.TempDir(), Connections: 1}})
	t.Cleanup(set.Close)
	a := &Activities{dropPoints: set}
	for _, known := range []workflows.UsableDropPoint{
		{Name: "drop"}, {Name: "drop", Proven: true}, {Name: "drop", HasAccepted: true},
		{Name: "drop", Failed: true}, {Name: "drop", Refuses: true},
	} {
		got, err := a.pointsOf(workflows.SendCall{DropPoints: []workflows.UsableDropPoint{known}})
		if err != nil || len(got) != 1 || got[0].DropPoint == nil {
			t.Fatalf("%+v, %v", got, err)
		}
		want := sender.DropPoint{DropPoint: got[0].DropPoint, Proven: known.Proven, HasAccepted: known.HasAccepted,
			Failed: known.Failed, Refuses: known.Refuses}
		if got[0] != want {
			t.Errorf("%+v became %+v", known, got[0])
		}
	}
}
