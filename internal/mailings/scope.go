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
	Origin string   // see [Mailing]
	Topic  string   // or ""
	Ignore []string // kinds of scopes that it ignores: all, list, topic
}

// Respected returns the scopes of the requests that the mailing respects.
func (s Scope) Respected() []optouts.Scope {
	return optouts.Respected(listOf(s.Origin), s.Topic, s.Ignore)
}

// listOf returns the list of an origin, or "" if the recipients come from a query.
func listOf(origin string) string {
	if strings.Contains(origin, ":") {
		return ""
	}
	return origin
}

// RequestScope returns the scope of a request that names none, such as a click on the link of a
// message: the topic of the mailing, or else its list, or else all mail.
func RequestScope(origin, topic string) optouts.Scope {
	switch list := listOf(origin); {
	case topic != "":
		return optouts.Topic(topic)
	case list != "":
		return optouts.List(list)
	}
	return optouts.All
}

// ScopeOf returns the scope of a mailing that is about to be started. audience is what the column
// list has: a list's name, "query:SOURCE" or "continue:ID". A continuation has the origin of the
// earlier mailing, and its topic unless it has one of its own.
func (s *Store) ScopeOf(ctx context.Context, audience, topic string, ignore []string) (Scope, error) {
	return scopeOf(ctx, s.pool, audience, topic, ignore)
}

func scopeOf(ctx context.Context, db querier, audience, topic string, ignore []string) (Scope, error) {
	scope := Scope{Origin: audience, Topic: topic, Ignore: ignore}
	if scope.Ignore == nil {
		scope.Ignore = []string{}
	}
	earlier, continues := strings.CutPrefix(audience, "continue:")
	if !continues {
		return scope, nil
	}
	rows, err := db.Query(ctx, `SELECT origin, topic FROM mailings WHERE id = $1`, earlier)
	if err != nil {
		return scope, fmt.Errorf("read the scope of the earlier mailing: %w", err)
	}
	var itsTopic string
	_, err = pgx.ForEachRow(rows, []any{&scope.Origin, &itsTopic}, func() error { return nil })
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
