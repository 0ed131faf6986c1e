package policy_test

import (
	"fmt"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Each activity waits in one of four task queues, so that long activities of one kind do not delay
// short ones of another.
func ExampleQueue() {
	for _, activity := range []string{policy.SendBatch, policy.RenderBatch, policy.PrepareList, policy.CloseMailing} {
		fmt.Println(activity, policy.Queue(activity, workflows.TaskQueue))
	}
	// Output:
	// SendBatch direct-mailer
	// RenderBatch direct-mailer-render
	// PrepareList direct-mailer-prepare
	// CloseMailing direct-mailer-steps
}

// The type of an activity's error decides what follows. A batch that another worker may take is
// handed over, and an input that is wrong is not.
func ExampleHandsOver() {
	fmt.Println(policy.HandsOver(policy.WorkerBusy), policy.HandsOver(policy.InvalidInput))
	// Output: true false
}
