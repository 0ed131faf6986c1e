package bounces

import (
	"directmailer/internal/config"
	"directmailer/internal/feedback/token"
)

func keysOf(config.Starter) token.Keys { return nil }
