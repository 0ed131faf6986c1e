package process

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/config"
	"directmailer/internal/feedback/tokenkey"
	"directmailer/internal/feedback/unsubscribe"
)

// servePublic starts the public listener, if the worker has one.
func servePublic(
	ctx context.Context, c config.Worker, keys *tokenkey.Watch, pool *pgxpool.Pool, log *slog.Logger,
) (stop func(), err error) {
	if c.PublicAddress == "" {
		return func() {}, nil
	}
	o := unsubscribe.Options{
		Address: string(c.PublicAddress), Settings: c.Feedback(), Proxies: c.PublicProxies,
		Certificate: c.PublicCert, Key: c.PublicKey,
	}
	if c.PublicLook != "" {
		if o.Look, err = unsubscribe.ReadLook(c.PublicLook); err != nil {
			return nil, fmt.Errorf("the file of DM_PUBLIC_LOOK cannot be used: %w", err)
		}
	}
	server, err := unsubscribe.Listen(o, keys, pool, log)
	if err != nil {
		return nil, err
	}
	log.Info("serving the unsubscribe pages", "address", server.Addr())
	return func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		server.Close(closing)
	}, nil
}
