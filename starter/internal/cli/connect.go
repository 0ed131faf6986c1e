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
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/status"
)

// store is the database, as the commands see it.
type store struct {
	pool       *pgxpool.Pool
	lists      *lists.Store
	mailings   *mailings.Store
	recipients *recipients.Store
	ledger     *ledger.Ledger
	status     *status.Reader
}

// openStore opens the database that DATABASE_URL names. The database must be migrated.
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
	s := &store{
		pool: pool, lists: lists.New(pool), mailings: mailings.New(pool), recipients: recipients.New(pool),
		ledger: ledger.New(pool),
	}
	s.status = status.NewReader(s.mailings, s.ledger)
	return s, nil
}

func (s *store) close() { s.pool.Close() }

func openPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	if err := needDatabaseURL(url); err != nil {
		return nil, err
	}
	pool, err := database.Open(ctx, url, 4)
	return pool, exit.With(exit.NoDatabase, err)
}

func needDatabaseURL(url string) error {
	if url == "" {
		return exit.Usagef("DATABASE_URL is not set: set it to postgres://user:password@host:5432/database")
	}
	return nil
}

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// dial connects to Temporal, or fails with the exit code for that.
func dial(ctx context.Context) (*temporalclient.Client, error) {
	c, err := temporalclient.Dial(ctx, silent)
	if err != nil && codeOf(err) != exit.BadInput {
		err = exit.With(exit.NoTemporal, err)
	}
	return c, err
}

// tryDial connects to Temporal for a command that can do without it. It does not wait for long.
func tryDial(ctx context.Context) (*temporalclient.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return dial(ctx)
}
