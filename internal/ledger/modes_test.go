package ledger_test

import (
	"errors"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/ledger"
)

func TestEveryModeOfPgxDoesTheSame(t *testing.T) {
	servertest.InEveryMode(t,
		"TestNoStatementTakesMinutesWhileTheStatisticsDoNotKnowTheMailing",
		"TestABatchThatStaysLockedIsAFailureOfTheDatabase",
		"TestNoIntentSlipsPastARacingClaim",
		"TestManyConnectionsShareCommitsAndLoseNothing",
		"TestABatchThatIsTooLargeAsTextIsRefused",
		"TestACommitOfTheGateIsOneRoundTrip") // two, where pgx asks for the types of arguments each time
}

// These modes send a byte as two digits, so half as much fits into PostgreSQL's limit.
func TestABatchThatIsTooLargeAsTextIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 1)
	f.exec(`DELETE FROM spool`)
	config := f.pool.Config().ConnString() + "&default_query_exec_mode=exec"
	pool := servertest.Pool(t, config, 2)
	l := ledger.New(pool)
	err := l.Store(t.Context(), f.batch(1), make([]byte, ledger.MaxSpool/2+1), nil)
	if !errors.Is(err, ledger.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if err := l.Store(t.Context(), f.batch(2), make([]byte, 1000), nil); err != nil {
		t.Error(err)
	}
}
