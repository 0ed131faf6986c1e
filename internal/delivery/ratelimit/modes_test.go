package ratelimit_test

import (
	"testing"

	"directmailer/internal/dev/servertest"
)

func TestEveryModeOfPgxDoesTheSame(t *testing.T) {
	servertest.InEveryMode(t,
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
