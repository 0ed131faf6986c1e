package mailings

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/lists"
)

// Answer is the answer of a query: members, and the rows that are none. Its members' positions grow.
type Answer interface {
	lists.Source
	// Rejects are the first of the rejected rows.
	Rejects() []lists.Reject
}

// staged is the table of an answer until it is frozen: this session's own, so that nothing of it outlives a crash, and two attempts do not
// meet before one of them freezes.
const staged = `CREATE TEMPORARY TABLE staged_members (LIKE list_members INCLUDING INDEXES)`

// FreezeAnswer does what Freeze does, but with the members that answer hands out. They are read before the mailing is touched: an answer
// that takes hours keeps nobody waiting. ErrEmptyList when there are none; ErrNotFound.
func (s *Store) FreezeAnswer(ctx context.Context, id string, answer Answer, batchSize int) (Frozen, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return Frozen{}, fmt.Errorf("stage the answer: %w", err)
	}
	defer unstage(conn)
	if _, err := conn.Exec(ctx, staged); err != nil {
		return Frozen{}, fmt.Errorf("stage the answer: %w", err)
	}
	members, err := lists.Copy(ctx, conn, "staged_members", 0, answer)
	if err != nil {
		if ctx.Err() != nil { // a cancelled COPY can end in the error of its closed connection
			err = ctx.Err()
		}
		return Frozen{}, fmt.Errorf("stage the answer: %w", err)
	}
	return prepare(ctx, conn, id, batchSize, func(ctx context.Context, tx pgx.Tx, m Mailing) (Frozen, error) {
		if members == 0 {
			return Frozen{}, ErrEmptyList
		}
		f, err := freezeMembers(ctx, tx, m, "staged_members", 0, members)
		f.Rejected, f.Rejects = answer.Rejected(), answer.Rejects()
		return f, err
	})
}

// unstage gives the connection back without the table, or ends it.
func unstage(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := conn.Exec(ctx, `DROP TABLE IF EXISTS staged_members`); err != nil {
		_ = conn.Conn().Close(ctx)
	}
	conn.Release()
}
