package smtp

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestAServerCannotHaveAPasswordHashedForHours(t *testing.T) {
	t.Parallel()
	for iterations, ok := range map[string]bool{"4096": true, "1000000": true, "1000001": false, "4000000000": false,
		"99999999999999999999": false} {
		c := &Conn{options: Options{Username: "user", Password: "secret"}}
		auth := c.newAuth("SCRAM-SHA-256", "secret")
		_, _, err := auth.Start(nil)
		if err != nil {
			t.Fatal(err)
		}
		first, err := answerTo(auth, "SCRAM-SHA-256", nil, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, nonce, _ := strings.Cut(string(first), ",r=")
		challenge := base64.StdEncoding.EncodeToString([]byte("r=" + nonce + "more,s=c2FsdA==,i=" + iterations))
		response, err := answerTo(auth, "SCRAM-SHA-256", nil, 1, []byte(challenge))
		if ok != (err == nil) || !ok && !errors.Is(err, errLogin) {
			t.Errorf("%s iterations: got %q, %v", iterations, response, err)
		}
	}
}
