package recipients_test

import (
	"testing"

	"directmailer/internal/dev/servertest"
)

func TestEveryModeOfPgxDoesTheSame(t *testing.T) { servertest.InEveryMode(t) }
