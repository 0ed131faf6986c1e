package mailings

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/optouts"
)

// Scope says which requests not to be mailed hold for a mailing.
type Scope struct {
	List   string   // that its recipients come from, or "" if they come from a query
	Topic  string   // or ""
	Ignore []string // kinds of scopes that it ignores: all, list, topic
}

// Respected returns the scopes of the requests that the mailing respects.
func (s Scope) Respected() []optouts.Scope { return optouts.Respected(s.List, s.Topic, s.Ignore) }

// ScopeOf returns the scope of a mailing that is about to be started. audience is what the column
// list has: a list's name, "query:SOURCE" or "continue:ID". A continuation has the list of the
// earlier mailing, and its topic unless it has one of its own.
func (s *Store) ScopeOf(ctx context.Context, audience, topic string, ignore []string) (Scope, error) {
	return scopeOf(ctx, s.pool, audience, topic, ignore)
}

func scopeOf(ctx context.Context, db querier, audience, topic string, ignore []string) (Scope, error) {
	scope := Scope{Topic: topic, Ignore: ignore}
	if scope.Ignore == nil {
		scope.Ignore = []string{}
	}
	kind, earlier, special := strings.Cut(audience, ":")
	if !special {
		scope.List = audience
	}
	if kind != "continue" {
		return scope, nil
	}
	rows, err := db.Query(ctx, `SELECT of_list, topic FROM mailings WHERE id = $1`, earlier)
	if err != nil {
		return scope, fmt.Errorf("read the scope of the earlier mailing: %w", err)
	}
	var itsTopic string
	_, err = pgx.ForEachRow(rows, []any{&scope.List, &itsTopic}, func() error { return nil })
	if err != nil {
		return scope, fmt.Errorf("read the scope of the earlier mailing: %w", err)
	}
	if scope.Topic == "" {
		scope.Topic = itsTopic
	}
	return scope, nil
}

// scopeOfInput is scopeOf with the topic and the ignored scopes of an input.
func scopeOfInput(ctx context.Context, db querier, audience string, input json.RawMessage) (Scope, error) {
	var in struct {
		Topic  string   `json:"topic"`
		Ignore []string `json:"ignore_opt_outs"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return Scope{}, fmt.Errorf("read the mailing's input: %w", err)
	}
	return scopeOf(ctx, db, audience, in.Topic, in.Ignore)
}
