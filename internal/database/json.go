package database

import (
	"encoding/json"
	"fmt"
)

// JSON returns v as an argument for a column of type jsonb, in every mode of pgx. Where pgx does
// not ask the server for the types of arguments (default_query_exec_mode=exec and simple_protocol,
// as behind a pooler), it sends a []byte as bytea, which PostgreSQL does not take for JSON, and
// refuses a struct.
func JSON(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write %T as JSON: %w", v, err)
	}
	return string(text), nil
}
