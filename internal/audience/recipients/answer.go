package recipients

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
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
func (s *Store) FreezeAnswer(
	ctx context.Context, id string, answer Answer, batchSize int,
) (mailings.Frozen, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return mailings.Frozen{}, fmt.Errorf("stage the answer: %w", err)
	}
	defer release(conn)
	members, err := lists.Stage(ctx, conn, answer)
	if err != nil {
		if ctx.Err() != nil { // a cancelled COPY can end in the error of its closed connection
			err = ctx.Err()
		}
		return mailings.Frozen{}, fmt.Errorf("stage the answer: %w", err)
	}
	insert := func(ctx context.Context, tx pgx.Tx, m mailings.Mailing) (mailings.Frozen, error) {
		if members == 0 {
			return mailings.Frozen{}, ErrEmptyList
		}
		f, err := insertMembers(ctx, tx, m, lists.Staged, 0, members)
		f.Rejected, f.Rejects = answer.Rejected(), answer.Rejects()
		return f, err
	}
	return freeze(ctx, conn, id, batchSize, insert)
}

// release gives the connection back without the staged members, or ends it.
func release(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := lists.Unstage(ctx, conn); err != nil {
		_ = conn.Conn().Close(ctx)
	}
	conn.Release()
}
