package optouts_test

import (
	"testing"

	"directmailer/internal/dev/servertest"
)

func TestTheTypelessModesOfPgxDoTheSame(t *testing.T) { servertest.InTypelessModes(t) }
