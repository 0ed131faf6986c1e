package recipients

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/internal/database"
	"directmailer/internal/mailings"
)

// Answer is the answer of a query: its members, and its rows that are none. The members' positions
// grow.
type Answer interface {
	lists.Rows
	// Rejects are the first of the rejected rows.
	Rejects() []member.Reject
}

// FreezeAnswer does what [Store.Freeze] does, but with the members that answer hands out. They are
// read before the mailing is touched: an answer that takes hours keeps nobody waiting. It returns
// ErrEmptyList when there are no members, or mailings.ErrNotFound.
//
// One transaction stages the answer and freezes it, because a transaction pooler keeps a session,
// and its temporary tables, for no longer. It needs no snapshot, which would be as old as the first
// row: nobody else sees the staged members, and one statement alone reads the opt-outs.
func (s *Store) FreezeAnswer(
	ctx context.Context, id string, answer Answer, batchSize int,
) (f mailings.Frozen, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		members, err := lists.Stage(ctx, tx, answer)
		if err != nil {
			if ctx.Err() != nil { // a cancelled COPY can end in the error of its closed connection
				err = ctx.Err()
			}
			return fmt.Errorf("stage the answer: %w", err)
		}
		f, err = freezeIn(ctx, tx, id, batchSize, insertAnswer(answer, members))
		if err != nil {
			return fmt.Errorf("freeze the answer: %w", err)
		}
		return nil
	})
	if err != nil {
		return mailings.Frozen{}, err
	}
	return f, nil
}

// insertAnswer inserts the members of an answer that are staged.
func insertAnswer(answer Answer, members int64) audience {
	return func(ctx context.Context, tx pgx.Tx, m mailings.Mailing) (mailings.Frozen, error) {
		if members == 0 {
			return mailings.Frozen{}, ErrEmptyList
		}
		f, err := insertMembers(ctx, tx, m, membersOf(lists.Staged, 0), true, members)
		f.Rejected, f.Rejects = answer.Rejected(), answer.Rejects()
		return f, err
	}
}
