package ledger_test

import (
	"testing"

	"directmailer/internal/dev/servertest"
)

func TestEveryModeOfPgxDoesTheSame(t *testing.T) {
	servertest.InEveryMode(t,
		"TestNoStatementTakesMinutesWhileTheStatisticsDoNotKnowTheMailing",
		"TestABatchThatStaysLockedIsAFailureOfTheDatabase",
		"TestNoIntentSlipsPastARacingClaim",
		"TestManyConnectionsShareCommitsAndLoseNothing",
		"TestACommitOfTheGateIsOneRoundTrip") // two, where pgx asks for the types of arguments each time
}
