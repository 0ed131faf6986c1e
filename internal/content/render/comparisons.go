package render

// compareSteps are the steps of a comparison: both values are read as numbers and as dates.
const compareSteps = 48

// comparisons returns the template functions that compare, and those that test a value.
func comparisons(b *budget) map[string]any {
	return map[string]any{
		truthFunc: limited(b, orNothing),
		"not":     limited(b, func(v any) bool { return !truth(v) }),
		listFunc: func(v any) (any, error) {
			if err := b.value(v); err != nil {
				return nil, err
			}
			return listOrNothing(v)
		},
		"eq": func(a any, others ...any) (bool, error) { return b.equalsAny(a, others) },
		"ne": func(x, y any) (bool, error) {
			same, err := b.equalsAny(x, []any{y})
			return err == nil && !same, err
		},
		"lt": ordered(b, func(c int) bool { return c < 0 }),
		"le": ordered(b, func(c int) bool { return c <= 0 }),
		"gt": ordered(b, func(c int) bool { return c > 0 }),
		"ge": ordered(b, func(c int) bool { return c >= 0 }),
	}
}

// equalsAny tells whether a value equals one of others.
func (b *budget) equalsAny(value any, others []any) (bool, error) {
	if len(others) == 0 {
		return false, errOperand
	}
	for _, other := range others {
		if err := b.comparing(value, other); err != nil {
			return false, err
		}
		if same, err := equal(value, other); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// comparing takes the steps of a comparison.
func (b *budget) comparing(x, y any) error {
	size, err := weight(x, y)
	if err != nil {
		return err
	}
	return b.spend(compareSteps + 8*size/octetsPerStep)
}

func ordered(b *budget, holds func(int) bool) func(x, y any) (bool, error) {
	return func(x, y any) (bool, error) {
		if err := b.comparing(x, y); err != nil {
			return false, err
		}
		c, err := order(x, y)
		return err == nil && holds(c), err
	}
}
