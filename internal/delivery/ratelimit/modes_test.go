package ratelimit_test

import (
	"testing"

	"directmailer/internal/dev/servertest"
)

func TestTheTypelessModesOfPgxDoTheSame(t *testing.T) {
	servertest.InTypelessModes(t,
		"TestNoWindowOfTimeHasMoreThanTheRate",
		"TestWorkersThatAreKilledAndStartedAgainSendNoBurst",
		"TestWithoutTheDatabaseNothingIsSent",
		"TestTurnsGoWhereTheyAreUsed",
		"TestALowerRateIsKeptWithinTwoSeconds",
		"TestTurnsThatWereNotTakenInTimeAreLost",
		"TestBusyWorkersShare",
		"TestMessagesWithoutALimitCostNoMemory",
		"TestUnderTwoLimitsBothAreKept",
		"TestALimitCanBeSetAndRemovedWhileMailGoesOut")
}
