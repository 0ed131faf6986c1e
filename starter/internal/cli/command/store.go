package command

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/optouts"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/database"
	"directmailer/internal/feedback/events"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/status"
)

// Store is the database, as the commands see it.
type Store struct {
	Pool       *pgxpool.Pool
	Lists      *lists.Store
	OptOuts    *optouts.Store
	Mailings   *mailings.Store
	Recipients *recipients.Store
	Ledger     *ledger.Ledger
	Events     *events.Store
	Status     *status.Reader
}

// OpenStore opens the database that DATABASE_URL names. The database must be migrated.
func OpenStore(ctx context.Context) (*Store, error) {
	c, err := Settings()
	if err != nil {
		return nil, err
	}
	pool, err := OpenPool(ctx, c.DatabaseURL)
	if err != nil {
		return nil, err
	}
	if err := database.CheckMigrated(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	s := &Store{
		Pool: pool, Lists: lists.New(pool), OptOuts: optouts.New(pool),
		Mailings: mailings.New(pool), Recipients: recipients.New(pool),
		Ledger: ledger.New(pool), Events: events.New(pool),
	}
	s.Status = status.NewReader(s.Mailings, s.Ledger, s.Events)
	return s, nil
}

// Close closes the connections.
func (s *Store) Close() { s.Pool.Close() }

// OpenPool opens the database, migrated or not. It refuses an empty url.
func OpenPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	if err := NeedDatabaseURL(url); err != nil {
		return nil, err
	}
	pool, err := database.Open(ctx, url, 4)
	return pool, exit.With(exit.NoDatabase, err)
}

// NeedDatabaseURL refuses an empty url.
func NeedDatabaseURL(url string) error {
	if url == "" {
		return exit.Usagef("DATABASE_URL is not set: set it to postgres://user:password@host:5432/database")
	}
	return nil
}

// KeysAtOnce is how many addresses one statement takes.
const KeysAtOnce = 10_000
