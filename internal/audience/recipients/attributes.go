package recipients

import (
	"encoding/json"
	"fmt"
	"strings"
)

// readAttributes reads an object of strings as jsonb prints it. The values are parts of text: one
// recipient costs five allocations instead of 35, and a ninth of the time. An object with an escape
// in it is left to encoding/json.
func readAttributes(text string) (map[string]string, error) {
	attributes := make(map[string]string, strings.Count(text, `": "`))
	if readPlain(text, attributes) {
		return attributes, nil
	}
	clear(attributes)
	if err := json.Unmarshal([]byte(text), &attributes); err != nil {
		return nil, fmt.Errorf("the attributes of a recipient cannot be read") // the error's own text may quote them
	}
	return attributes, nil
}

// readPlain reads {"key": "value", …}. It returns false if there is an escape in it.
func readPlain(text string, into map[string]string) bool {
	rest, ok := strings.CutPrefix(text, "{")
	if rest == "}" {
		return ok
	}
	for ok {
		var key, value string
		if key, rest, ok = plainString(rest); !ok {
			return false
		}
		if rest, ok = strings.CutPrefix(rest, ": "); !ok {
			return false
		}
		if value, rest, ok = plainString(rest); !ok {
			return false
		}
		into[key] = value
		if rest == "}" {
			return true
		}
		rest, ok = strings.CutPrefix(rest, ", ")
	}
	return false
}

func plainString(text string) (s, rest string, ok bool) {
	if text, ok = strings.CutPrefix(text, `"`); !ok {
		return "", "", false
	}
	end := strings.IndexByte(text, '"')
	if end < 0 || strings.IndexByte(text[:end], '\\') >= 0 {
		return "", "", false
	}
	return text[:end], text[end+1:], true
}
