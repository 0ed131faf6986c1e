package ledger

import "github.com/jackc/pgx/v5/pgxpool"

// NewChunked returns a ledger whose Close looks at so few recipients at a time.
func NewChunked(pool *pgxpool.Pool, chunk int64) *Ledger { return &Ledger{pool, chunk} }
