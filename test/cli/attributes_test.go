package cli

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
)

func TestANamespaceWithoutRoomForSearchAttributesIsWarnedOfAndUsed(t *testing.T) {
	t.Parallel()
	server := servertest.OwnTemporal(t, nil)
	servertest.FillSearchAttributes(t, server.Address())
	for name, address := range map[string]string{
		"full":   server.Address(),
		"denied": servertest.DenyingTemporal(t, server.Address(), codes.PermissionDenied, "operatorservice"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShellWithoutServers(t)
			s.use(rig.NewOn(t, "drop=dir:"+s.mkdir("mail"), servertest.Database(t), address))
			const command = "temporal operator search-attribute create --namespace default --name MailingList --type Keyword " +
				"--name MailingState --type Keyword"
			if a := s.run("migrate").want(t, 0); !strings.Contains(a.err,
				"mailings go on without the search attributes") ||
				!strings.Contains(a.err, command) {
				t.Errorf("migrate: %s", a.err)
			}
			s.writeLetter()
			s.worker()
			id := newID(t)
			s.run("start", "-f", "letter.yaml", "--id", id, "--watch").want(t, 3, "completed 100%")
			s.run("ls").want(t, 0, "completed")
			s.run("show", id).want(t, 0, "completed")
			s.run("check", "--output", "json").want(t, 0, "without the search attributes")
		})
	}
}
