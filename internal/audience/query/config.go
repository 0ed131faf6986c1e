package query

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"directmailer/internal/database"
	"directmailer/internal/naming"
)

// Config is a source database: its name, and what its URL says.
type Config struct {
	Name   string
	config *pgconn.Config
	mailer bool // it may be the database of a mailer
}

// mailerParameter is the parameter of a source's URL by which its operator allows the database of a
// mailer.
const mailerParameter = "mailer_database"

// Parse reads the URL of a source database. Its errors name the source and quote nothing of the
// URL.
func Parse(name, url string) (Config, error) {
	if !naming.Valid(name) {
		return Config{}, errors.New("a source's name must be " + naming.Rule)
	}
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		return Config{}, fmt.Errorf("source %s: its URL must begin with postgres://", name)
	}
	config, err := database.ParseURL(url)
	if err != nil {
		return Config{}, fmt.Errorf("source %s: its URL cannot be used: %w", name, err)
	}
	allowed, given := config.RuntimeParams[mailerParameter]
	if delete(config.RuntimeParams, mailerParameter); given && allowed != "allowed" {
		return Config{}, fmt.Errorf("source %s: %s can only be allowed", name, mailerParameter)
	}
	database.SetTimeouts(config)
	config.MaxProtocolMessageBodyLen = maxRow
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		// A query that nobody waits for is cancelled. It does not run in the source until its
		// timeout.
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: time.Second}
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "direct-mailer"
	}
	return Config{Name: name, config: config, mailer: given}, nil
}

// String describes the source without its credentials.
func (c Config) String() string {
	if c.config == nil {
		return c.Name
	}
	return "postgres://" + net.JoinHostPort(c.config.Host, fmt.Sprint(c.config.Port)) + "/" + c.config.Database
}

// GoString is String: a configuration is never printed with its credentials.
func (c Config) GoString() string { return c.String() }

// MarshalText is String, for loggers and encoders.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
