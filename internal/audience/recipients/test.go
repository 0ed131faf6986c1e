package recipients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/address"
	"directmailer/internal/database"
	"directmailer/internal/mailings"
	"directmailer/internal/naming"
)

// ErrNoTest says that nobody has stored recipients for the test, or that they were stored more than
// a day ago.
var ErrNoTest = errors.New("the test has no recipients")

// TestEmail is the attribute of a test's recipient that holds the address of the member whose
// fields the recipient has. Templates see it as email.
const TestEmail = "email"

// TestRecipient gets a message of a test.
type TestRecipient struct {
	Address    address.Address
	Attributes json.RawMessage // of a member, and [TestEmail]
}

// StoreTest stores the recipients of a test, numbered from 1, until [Store.FreezeTest] freezes
// them. It deletes those of tests that have not been frozen within a day.
func (s *Store) StoreTest(ctx context.Context, id string, to []TestRecipient) error {
	var batch pgx.Batch
	batch.Queue(`DELETE FROM test_recipients WHERE added_at < now() - interval '1 day'`)
	for i, each := range to {
		batch.Queue(`
			INSERT INTO test_recipients (test, number, address, address_key, attributes) VALUES ($1, $2, $3, $4, $5)`,
			id, i+1, each.Address.String(), each.Address.Key(), string(each.Attributes))
	}
	err := pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		return tx.SendBatch(ctx, &batch).Close()
	})
	if err != nil {
		return fmt.Errorf("store the recipients of the test: %w", err)
	}
	return nil
}

// DropTest deletes the stored recipients of a test that was not started or was refused.
func (s *Store) DropTest(ctx context.Context, id string) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM test_recipients WHERE test = $1`, id); err != nil {
		return fmt.Errorf("delete the recipients of the test: %w", err)
	}
	return nil
}

// FreezeTest does what [Store.Freeze] does, but with the stored recipients of a test, of which
// several may have the same address. It returns ErrNoTest, ErrEnded, or mailings.ErrNotFound.
func (s *Store) FreezeTest(ctx context.Context, id string, batchSize int) (mailings.Frozen, error) {
	return freeze(ctx, s.pool, id, batchSize, insertTest)
}

func insertTest(ctx context.Context, tx pgx.Tx, m mailings.Mailing) (f mailings.Frozen, err error) {
	if !naming.ValidID(m.ID) { // it stands in the text of the statement
		return f, fmt.Errorf("the test has an ID that is none: it must be %s", naming.IDRule)
	}
	source := fmt.Sprintf(`
		SELECT number AS position, address, address_key, attributes FROM test_recipients WHERE test = '%s'`, m.ID)
	if f, err = insertMembers(ctx, tx, m, source, false, 0); err != nil {
		return f, err
	}
	if f.Members = f.Recipients; f.Members == 0 {
		return f, ErrNoTest
	}
	_, err = tx.Exec(ctx, `DELETE FROM test_recipients WHERE test = $1`, m.ID)
	return f, err
}
