package events

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/database"
)

// act does what follows from events that were written.
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
			request.Reason, request.Scope = optouts.Asked, e.scope()
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

// scope is that of a request which names no scope, as of a click: the topic of the mailing, or else
// its list, or else all mail.
func (r *recipient) scope() optouts.Scope {
	switch {
	case r.Topic != "":
		return optouts.Topic(r.Topic)
	case r.OfList != "":
		return optouts.List(r.OfList)
	}
	return optouts.All
}

// Reconsider suppresses addresses by the bounces of a mailing that has ended, if too many of them
// had come back while it ran. It may be repeated.
func (s *Store) Reconsider(ctx context.Context, mailing int64, id string) error {
	return pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockMailings, pgx.NamedArgs{"mailings": []int64{mailing}}); err != nil {
			return fmt.Errorf("lock the events of a mailing: %w", err)
		}
		_, err := optouts.Reconsider(ctx, tx, id)
		return err
	})
}
