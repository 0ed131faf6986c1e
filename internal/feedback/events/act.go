package events

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/database"
	"directmailer/internal/mailings"
)

// act does what follows from new events.
func act(ctx context.Context, tx pgx.Tx, fresh []recorded) error {
	var requests []optouts.Request
	var findings []optouts.Finding
	for _, e := range fresh {
		request := optouts.Request{Key: e.AddressKey, Scope: optouts.All, Mailing: e.ID, At: e.at}
		finding := optouts.Finding{Key: e.AddressKey, Code: enhancedCode(e.Enhanced), Mailing: e.ID, At: e.at}
		switch e.Class {
		case Complaint:
			request.Reason = optouts.Complaint
			requests = append(requests, request)
		case Unsubscribe:
			request.Reason, request.Scope = optouts.Asked, e.Scope
			if e.Scope == "" {
				request.Scope = mailings.RequestScope(e.MailingOrigin, e.Topic)
			}
			requests = append(requests, request)
		case Hard:
			finding.Class = optouts.Hard
			findings = append(findings, finding)
		case Soft:
			finding.Class = optouts.Soft
			findings = append(findings, finding)
		}
	}
	if _, err := optouts.Add(ctx, tx, requests); err != nil {
		return fmt.Errorf("opt people out: %w", err)
	}
	if _, err := optouts.Suppress(ctx, tx, findings); err != nil {
		return fmt.Errorf("suppress addresses that bounced: %w", err)
	}
	return nil
}

// Reconsider suppresses addresses by the bounces of a mailing that has ended, if too many of them
// had come back while it ran. It may be repeated.
func (s *Store) Reconsider(ctx context.Context, mailing int64, id string) error {
	return pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockMailings, pgx.NamedArgs{"mailings": []int64{mailing}}); err != nil {
			return fmt.Errorf("lock the events of a mailing: %w", err)
		}
		return optouts.Reconsider(ctx, tx, id)
	})
}
