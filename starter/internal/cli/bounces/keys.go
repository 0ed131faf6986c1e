package bounces

import (
	"os"

	"directmailer/internal/feedback/token"
	"directmailer/starter/internal/exit"
)

// tokenKeys returns the keys that have signed our tokens, none if they are not set.
func tokenKeys() (token.Keys, error) {
	text := os.Getenv("DM_TOKEN_KEYS")
	if text == "" {
		return nil, nil
	}
	keys, err := token.ParseKeys(text)
	if err != nil {
		return nil, exit.Usagef("DM_TOKEN_KEYS: %w", err)
	}
	return keys, nil
}
