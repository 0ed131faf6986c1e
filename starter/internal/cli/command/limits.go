package command

import (
	"context"
	"strconv"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/starter/internal/status"
)

// Limits returns all rate limits that limit anything. Those of mailings have the IDs as names.
func (s *Store) Limits(ctx context.Context) ([]status.Limit, error) {
	all, err := ratelimit.New(s.Pool).List(ctx)
	if err != nil {
		return nil, err
	}
	var keys []int64
	for _, l := range all {
		if l.Scope.Kind == ratelimit.Mailing {
			key, _ := strconv.ParseInt(l.Scope.Name, 10, 64)
			keys = append(keys, key)
		}
	}
	ids, err := s.openIDs(ctx, keys)
	if err != nil {
		return nil, err
	}
	lines := []status.Limit{}
	for _, l := range all {
		name := l.Scope.Name
		if l.Scope.Kind == ratelimit.Mailing {
			key, _ := strconv.ParseInt(name, 10, 64)
			if name = ids[key]; name == "" {
				continue // it is over, and its limit limits nothing
			}
		}
		lines = append(lines, status.Limit{Kind: l.Scope.Kind.String(), Name: name, Rate: l.Rate, SetAt: l.UpdatedAt})
	}
	return lines, nil
}

// openIDs returns the IDs of those of the mailings that are not over.
func (s *Store) openIDs(ctx context.Context, keys []int64) (map[int64]string, error) {
	ids := map[int64]string{}
	if len(keys) == 0 {
		return ids, nil
	}
	open, err := s.Mailings.Open(ctx, keys)
	for _, m := range open {
		ids[m.Key] = m.ID
	}
	return ids, err
}
