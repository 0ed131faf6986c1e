package mailings

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Recipient is one frozen member.
type Recipient struct {
	Number     int32
	Address    string
	Attributes map[string]string
}

// Recipients calls each for every recipient of the mailing numbered first to last, in order. Attributes is a fresh map each time.
func (s *Store) Recipients(ctx context.Context, key int64, first, last int32, each func(Recipient) error) error {
	return s.recipients(ctx, each, `number BETWEEN $2 AND $3`, key, first, last)
}

// RecipientsOf calls each for every recipient of the mailing that has one of the numbers, as [Store.Recipients] does.
func (s *Store) RecipientsOf(ctx context.Context, key int64, numbers []int32, each func(Recipient) error) error {
	return s.recipients(ctx, each, `number = ANY($2)`, key, numbers)
}

func (s *Store) recipients(ctx context.Context, each func(Recipient) error, which string, args ...any) error {
	rows, err := s.pool.Query(ctx, `SELECT number, address, attributes FROM recipients WHERE mailing = $1 AND `+which+` ORDER BY number`, args...)
	if err != nil {
		return fmt.Errorf("read recipients: %w", err)
	}
	var r Recipient
	var attributes string
	_, err = pgx.ForEachRow(rows, []any{&r.Number, &r.Address, &attributes}, func() (err error) {
		if r.Attributes, err = readAttributes(attributes); err != nil {
			return err
		}
		return each(r)
	})
	if err != nil {
		return fmt.Errorf("read recipients: %w", err)
	}
	return nil
}
