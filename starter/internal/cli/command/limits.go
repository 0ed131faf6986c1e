package command

import (
	"cmp"
	"context"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/starter/internal/status"
)

// Limits returns all rate limits that limit anything: not those of mailings that are over.
func (s *Store) Limits(ctx context.Context) ([]status.Limit, error) {
	all, err := ratelimit.New(s.Pool).List(ctx)
	if err != nil {
		return nil, err
	}
	var keys []int64
	for _, l := range all {
		if key := l.Scope.Mailing; key != 0 && (len(keys) == 0 || keys[len(keys)-1] != key) {
			keys = append(keys, key)
		}
	}
	ids, err := s.openIDs(ctx, keys)
	if err != nil {
		return nil, err
	}
	lines := []status.Limit{}
	for _, l := range all {
		id, open := ids[l.Scope.Mailing]
		if l.Scope.Mailing == 0 || open {
			lines = append(lines, status.Limit{Kind: l.Scope.Kind.String(), Name: cmp.Or(l.Scope.Name, id), Mailing: id,
				Rate: l.Rate, SetAt: l.UpdatedAt})
		}
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
