package rig

import (
	"errors"
	"flag"
	"os"
	"path/filepath"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

var record = flag.String("record", "", "folder to write histories into, for the replay tests: "+
	"../../workflows/testdata/histories")

// SaveHistory writes the history of a workflow that later versions must replay. Without the flag
// -record, it does nothing.
func (r *Rig) SaveHistory(id, run, name string) {
	r.Helper()
	if *record == "" {
		return
	}
	var h historypb.History
	events := r.Temporal.GetWorkflowHistory(r.Context(), id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			r.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	data, err := protojson.MarshalOptions{Multiline: true, Indent: " "}.Marshal(&h)
	err = errors.Join(err, os.WriteFile(filepath.Join(*record, name+".json"), data, 0o644))
	if err != nil {
		r.Fatal(err)
	}
}
