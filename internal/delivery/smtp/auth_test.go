package smtp_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

const secretWord = "Zq8Kw3XpJv7Yb"

// authServer starts a server with TLS, or without, that answers each last reply of a mechanism, and
// each challenge, as the maps say.
func authServer(t *testing.T, secure bool, replies, challenges map[string]*smtptest.Action,
	mechanisms ...string) *smtptest.Server {
	t.Helper()
	asked := map[string]int{}
	return smtptest.Start(t, smtptest.Options{STARTTLS: secure, Password: secretWord, Mechanisms: mechanisms,
		Script: func(e smtptest.Event) *smtptest.Action {
			switch e.Phase {
			case "AUTH":
				asked[e.Mechanism]++
				if a := replies[e.Mechanism]; a != nil && (!strings.HasPrefix(a.Reply, "334") ||
					asked[e.Mechanism] == 1) {
					return a
				}
			case "challenge":
				return challenges[e.Mechanism]
			}
			return nil
		}})
}

func logInTo(t *testing.T, s *smtptest.Server, secure bool, change func(*smtp.Options)) error {
	t.Helper()
	o := smtp.Options{Username: "user", Password: secretWord, TLS: smtp.None}
	if secure {
		o.TLS, o.RootCAs = smtp.Required, s.RootCAs()
	}
	if change != nil {
		change(&o)
	}
	c, err := tryDial(t, s, o)
	if err == nil {
		err = send(t, c, "a@example.org")
		c.Close()
	}
	if err != nil && strings.Contains(err.Error(), secretWord[:4]) {
		t.Errorf("the error shows the password: %v", err)
	}
	return err
}

// attempts returns the mechanisms of the AUTH commands.
func attempts(s *smtptest.Server) (names []string) {
	for _, line := range s.Commands() {
		if rest, ok := strings.CutPrefix(line, "AUTH "); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	return names
}

func TestABrokenMechanismGivesWayToTheNextOverTLSAndIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	reply := func(text string) *smtptest.Action { return &smtptest.Action{Reply: text} }
	for name, broken := range map[string]struct {
		mechanism           string
		replies, challenges *smtptest.Action
	}{
		"CRAM-MD5 535":                   {"CRAM-MD5", reply("535 5.7.8 wrong"), nil},
		"CRAM-MD5 534":                   {"CRAM-MD5", reply("534 5.7.9 too weak"), nil},
		"CRAM-MD5 503 at its challenge":  {"CRAM-MD5", nil, reply("503 5.5.1 no challenge")},
		"CRAM-MD5 asks for ever":         {"CRAM-MD5", reply("334 again"), nil},
		"SCRAM-SHA-256 not supported":    {"SCRAM-SHA-256", reply("504 5.5.4 not supported"), nil},
		"SCRAM-SHA-1 with enhanced code": {"SCRAM-SHA-1", reply("550 5.7.8 no"), nil},
		"LOGIN after PLAIN":              {"PLAIN", reply("535 5.7.8 wrong"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := authServer(t, true, map[string]*smtptest.Action{broken.mechanism: broken.replies},
				map[string]*smtptest.Action{broken.mechanism: broken.challenges}, broken.mechanism, "LOGIN")
			var known smtp.LogIns
			for range 2 {
				if err := logInTo(t, s, true, func(o *smtp.Options) { o.LogIns = &known }); err != nil {
					t.Fatal(err)
				}
			}
			if got := attempts(s); !slices.Equal(got, []string{broken.mechanism, "LOGIN", "LOGIN"}) {
				t.Errorf("tried %v", got)
			}
		})
	}
}

// A challenge of SCRAM that is nonsense must be cancelled before the next mechanism begins.
func TestAChallengeThatIsNotValidIsCancelled(t *testing.T) {
	t.Parallel()
	addr, wait := play(t, []string{"peer", "AUTH SCRAM-SHA-256 LOGIN"}, func(p *peer) {
		p.readLine()
		p.writeLines("334 ")
		p.readLine()
		p.writeLines("334 nonsense")
		if line := p.readLine(); line != "*" {
			p.writeLines("535 " + line)
			return
		}
		p.writeLines("501 cancelled")
	})
	c, err := smtp.Dial(t.Context(), smtp.Options{Addr: addr, TLS: smtp.None, Username: "user", Password: secretWord})
	if err == nil {
		c.Abort()
	}
	wait()
	if err == nil || !strings.Contains(err.Error(), "not valid (tried SCRAM-SHA-256)") ||
		smtp.Classify(err) != smtp.Refused {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatAsksAgainAndAgainIsNotAnsweredForEver(t *testing.T) {
	t.Parallel()
	asked := 0
	s := smtptest.Start(t, smtptest.Options{Password: secretWord, Mechanisms: []string{"XOAUTH2"},
		Script: func(e smtptest.Event) *smtptest.Action {
			switch asked++; {
			case e.Phase == "AUTH" && asked < 100:
				return &smtptest.Action{Reply: "334 "}
			case e.Phase == "AUTH":
				return &smtptest.Action{Reply: "235 welcome"}
			}
			return nil
		}})
	err := logInTo(t, s, false, func(o *smtp.Options) { o.Mechanism = "XOAUTH2" })
	if err == nil || smtp.Classify(err) != smtp.Refused {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatClosesAfterARefusedMechanismGetsAnotherOne(t *testing.T) {
	t.Parallel()
	s := authServer(t, true, map[string]*smtptest.Action{"CRAM-MD5": {Raw: "535 5.7.8 wrong\r\n", Die: true}}, nil,
		"CRAM-MD5", "PLAIN")
	var known smtp.LogIns
	remember := func(o *smtp.Options) { o.LogIns = &known }
	const want = "AUTH: the server closed the connection after AUTH was refused: 535 5.7.8 (tried CRAM-MD5)"
	if err := logInTo(t, s, true, remember); err == nil || err.Error() != want ||
		smtp.Classify(err) != smtp.Connection {
		t.Fatalf("over a closed connection: %v", err)
	}
	if err := logInTo(t, s, true, remember); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutTLSARefusedMechanismIsTheEnd(t *testing.T) {
	t.Parallel()
	s := authServer(t, false, map[string]*smtptest.Action{"CRAM-MD5": {Reply: "535 5.7.8 wrong"}}, nil, "CRAM-MD5",
		"PLAIN")
	err := logInTo(t, s, false, nil)
	if err == nil || !strings.HasSuffix(err.Error(), "AUTH was refused: 535 5.7.8 (tried CRAM-MD5)") {
		t.Errorf("got %v", err)
	}
	if got := attempts(s); !slices.Equal(got, []string{"CRAM-MD5"}) {
		t.Errorf("tried %v", got)
	}
}

func TestAPasswordThatAllMechanismsRefuseNamesThem(t *testing.T) {
	t.Parallel()
	s := authServer(t, true, nil, nil, "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")
	var known smtp.LogIns
	for range 2 {
		err := logInTo(t, s, true, func(o *smtp.Options) { o.Password, o.LogIns = "wrong", &known })
		const want = "AUTH was refused: 535 5.7.8 (tried SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN)"
		if err == nil || err.Error() != want || smtp.Classify(err) != smtp.Refused {
			t.Errorf("got %v", err)
		}
	}
}

// That the password is wrong says more than that a later mechanism does not work.
func TestAWrongPasswordIsToldAlthoughALaterMechanismFailsOtherwise(t *testing.T) {
	t.Parallel()
	s := authServer(t, true, map[string]*smtptest.Action{"LOGIN": {Reply: "504 5.5.4 not here"}}, nil, "PLAIN", "LOGIN")
	err := logInTo(t, s, true, func(o *smtp.Options) { o.Password = "wrong" })
	var refusal *smtp.Refusal
	if !errors.As(err, &refusal) || refusal.Code != 535 || !slices.Equal(attempts(s), []string{"PLAIN", "LOGIN"}) {
		t.Errorf("got %v after %v", err, attempts(s))
	}
}

func TestATemporaryFailureOfALogInTriesNoOtherMechanism(t *testing.T) {
	t.Parallel()
	s := authServer(t, true, map[string]*smtptest.Action{"CRAM-MD5": {Reply: "454 4.7.0 later"}}, nil, "CRAM-MD5",
		"PLAIN")
	err := logInTo(t, s, true, nil)
	var refusal *smtp.Refusal
	if !errors.As(err, &refusal) || refusal.Code != 454 || smtp.Classify(err) != smtp.Connection {
		t.Errorf("got %v", err)
	}
	if got := attempts(s); !slices.Equal(got, []string{"CRAM-MD5"}) {
		t.Errorf("tried %v", got)
	}
}

func TestOddAnswersToALogInAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "LOGIN", "XOAUTH2"} {
		for _, challenge := range []string{"334", "334 ", "334 Username:", "334-one\r\n334 two", "334\tx",
			"334 VXNlcm5hbWU6",
			"334 VXNlcm5hbWU", "334 eyJzdGF0dXMiOiI0MDEifQ=="} {
			for _, success := range []string{"235 2.7.0 ok", "235", "250 ok", "250-a\r\n250 b", "235\tok"} {
				t.Run(fmt.Sprintf("%s %q %q", mechanism, challenge, success), func(t *testing.T) {
					t.Parallel()
					first := &smtptest.Action{Reply: challenge}
					var done bool
					s := smtptest.Start(t, smtptest.Options{Password: secretWord, STARTTLS: true,
						Mechanisms: []string{mechanism},
						Script: func(e smtptest.Event) *smtptest.Action {
							switch {
							case e.Phase == "challenge":
								return first
							case e.Phase == "AUTH" && mechanism == "PLAIN" && !done:
								done = true
								return first
							case e.Phase == "AUTH":
								return &smtptest.Action{Reply: success}
							}
							return nil
						}})
					if err := logInTo(t, s, true, func(o *smtp.Options) { o.Mechanism = mechanism }); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	t.Run("CRAM-MD5 without encoding", func(t *testing.T) {
		t.Parallel()
		s := authServer(t, true, nil, map[string]*smtptest.Action{
			"CRAM-MD5": {Reply: "334 <1896.697170952@server.example>"}}, "CRAM-MD5")
		if err := logInTo(t, s, true, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestTheMechanismOfTheURLIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	s := authServer(t, true, nil, nil, "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		if err := logInTo(t, s, true, func(o *smtp.Options) { o.Mechanism = mechanism }); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
	if got := attempts(s); !slices.Equal(got, []string{"PLAIN", "LOGIN", "CRAM-MD5"}) {
		t.Errorf("tried %v", got)
	}
	err := logInTo(t, s, true, func(o *smtp.Options) { o.Mechanism = "XOAUTH2" })
	if err == nil || !strings.Contains(err.Error(), "does not offer XOAUTH2") || smtp.Classify(err) != smtp.Refused {
		t.Errorf("a mechanism that is not offered: %v", err)
	}
	err = logInTo(t, s, true, func(o *smtp.Options) { o.Mechanism, o.Password = "LOGIN", "wrong" })
	if err == nil || !strings.HasSuffix(err.Error(), "(tried LOGIN)") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestAServerThatRepeatsThePasswordDoesNotPutItIntoTheReply(t *testing.T) {
	t.Parallel()
	encoded := base64.StdEncoding.EncodeToString([]byte("\x00user\x00" + secretWord))
	alone := base64.StdEncoding.EncodeToString([]byte(secretWord)) // as in LOGIN
	for _, code := range []string{"535 5.7.8", "454 4.7.0"} {
		s := authServer(t, true, map[string]*smtptest.Action{"PLAIN": {
			Reply: code + " wrong: " + secretWord + ", " + alone + ", AUTH PLAIN " + encoded}}, nil, "PLAIN")
		err := logInTo(t, s, true, nil)
		var refusal *smtp.Refusal
		if !errors.As(err, &refusal) || refusal.Text != "wrong: [password], [password], AUTH PLAIN [password]" {
			t.Errorf("got %+v", refusal)
		}
	}
}
