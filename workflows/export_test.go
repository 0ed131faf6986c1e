package workflows_test

import (
	"errors"

	"go.temporal.io/sdk/client"
)

var startOptions = client.StartWorkflowOptions{ID: id, TaskQueue: "direct-mailer"}

func asError[T error](err error, into *T) bool { return errors.As(err, into) }
