package cli

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/database"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
)

// store is the database, as the commands see it.
type store struct {
	pool       *pgxpool.Pool
	lists      *lists.Store
	mailings   *mailings.Store
	recipients *recipients.Store
	ledger     *ledger.Ledger
}

// openStore opens the database that DATABASE_URL names; it must be migrated.
func openStore(ctx context.Context) (*store, error) {
	c, err := settings()
	if err != nil {
		return nil, err
	}
	pool, err := openPool(ctx, c.DatabaseURL)
	if err != nil {
		return nil, err
	}
	if err := database.CheckMigrated(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return &store{
		pool: pool, lists: lists.New(pool), mailings: mailings.New(pool), recipients: recipients.New(pool),
		ledger: ledger.New(pool),
	}, nil
}

func (s *store) close() { s.pool.Close() }

func openPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	if err := wantDatabase(url); err != nil {
		return nil, err
	}
	pool, err := database.Open(ctx, url, 4)
	if err != nil {
		return nil, &failure{NoDatabase, err}
	}
	return pool, nil
}

func wantDatabase(url string) error {
	if url == "" {
		return failf(BadInput, "DATABASE_URL is not set: it names the PostgreSQL database, as in postgres://user:password@host:5432/database")
	}
	return nil
}

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// dial connects to Temporal, or fails with the exit code for that.
func dial(ctx context.Context) (*temporalclient.Cluster, error) {
	c, err := temporalclient.Dial(ctx, silent)
	if err != nil {
		return nil, &failure{NoTemporal, err}
	}
	return c, nil
}

// tryDial connects to Temporal where a command can do without: soon, or not at all.
func tryDial(ctx context.Context) (*temporalclient.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return dial(ctx)
}
