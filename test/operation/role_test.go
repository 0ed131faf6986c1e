package operation

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

// The statements are those of the page, so that they are enough and stay enough.
func TestAMailingIsSentByARoleWithFewRights(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operation.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)### A role with few rights\n.*?```sql\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("the page has no such statements")
	}
	at, err := url.Parse(servertest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	owner, err := database.Open(t.Context(), at.String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(owner.Close)
	role := fmt.Sprintf("mailer_%d_%d", os.Getpid(), rig.Number())
	statements := strings.NewReplacer("DATABASE mail ", "DATABASE "+strings.TrimPrefix(at.Path, "/")+" ", "mailer", role).
		Replace(string(block[1]))
	if _, err := owner.Exec(t.Context(), statements); err != nil {
		t.Fatalf("%v\n%s", err, statements)
	}
	at.User = url.UserPassword(role, "choose one")
	const recipients = 60
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == rig.Address(7) { // the end of the mailing suppresses this address
			return &smtptest.Action{Reply: "550 5.1.1 no such user"}
		}
		return nil
	}})
	r := rig.NewOn(t, rig.MX(s), at.String(), servertest.Temporal(t))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(20)
	in.Rates.Mailing = "1000/s"
	if result := r.Result(r.Start(in)); result.Counts.Sent != recipients-1 || result.Counts.Bounced != 1 {
		t.Errorf("%+v", result.Counts)
	}
	// The role goes with its rights, before the database.
	if _, err := owner.Exec(t.Context(), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
		t.Error(err)
	}
}
