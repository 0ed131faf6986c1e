package workflows

import (
	"fmt"
	"time"
)

// Duration is a [time.Duration] that is a text ("30s") in JSON and YAML.
type Duration time.Duration

// MarshalText returns the text of [time.Duration.String]: "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a text that [time.ParseDuration] accepts.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s or 5m", text)
	}
	*d = Duration(v)
	return nil
}
