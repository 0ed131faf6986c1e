package operation_test

import (
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

// The SDK would read the whole program and show its checksum.
func TestTemporalShowsTheVersionAndRevisionOfEachWorker(t *testing.T) {
	t.Parallel()
	r := rig.New(t, rig.MX(smtptest.Start(t, smtptest.Options{})))
	r.StartWorker()
	r.AwaitPollers(1)
	d, err := r.Temporal.DescribeTaskQueue(t.Context(), r.TaskQueue, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 the SDK and the server use it for workers without versioning
	build := d.Pollers[0].GetWorkerVersionCapabilities().GetBuildId()
	if version, revision, ok := strings.Cut(build, "@"); !ok || version == "" || revision == "" {
		t.Errorf("the build is %q, want version@revision", build)
	}
}
