package chaos

import (
	"testing"
	"time"

	"directmailer/internal/dev/servers"
	"directmailer/internal/dev/servertest"
)

// ownServers are the servers that a fault breaks. No other test uses them.
type ownServers struct {
	postgres interface {
		Kill()
	}
	restartPostgres func() error
	temporal        interface{ Kill() }
	restartTemporal func() error

	// with a standby
	primary, standby *servers.Postgres
	freePort         int // that the next standby gets: the workers know two hosts
}

func (o *ownServers) start(t *testing.T, f fault) (url, address string) {
	if f.postgres {
		server := servertest.OwnPostgres(t)
		o.postgres, o.restartPostgres = server, func() error { return server.Start(t.Context()) }
		url = server.URL("mail")
		if f.standby != noStandby {
			o.primary, o.standby = server, servertest.Standby(t, server, 0)
			url = o.primary.WithStandby(o.standby, "mail")
		}
	} else {
		url = servertest.Database(t)
	}
	if f.temporal {
		server := servertest.OwnTemporal(t, nil)
		o.temporal, o.restartTemporal = server, func() error { return server.Start(t.Context()) }
		return url, server.Address()
	}
	return url, servertest.Temporal(t)
}

// prepare gives a primary that an earlier round has left without a standby a new one.
func (o *ownServers) prepare(t testing.TB, r replication) error {
	if r == noStandby {
		return nil
	}
	if o.standby == nil {
		o.standby = servertest.Standby(t, o.primary, o.freePort)
	}
	if r == synchronous {
		return o.primary.Synchronous(t.Context())
	}
	return nil
}

// failOver kills the primary and promotes its standby after a pause. An asynchronous standby lags
// behind for as long as lag says.
func (o *ownServers) failOver(t testing.TB, r replication, pause, lag time.Duration) error {
	if r == asynchronous {
		if err := o.primary.HoldReplication(t.Context()); err != nil {
			return err
		}
		time.Sleep(lag)
	}
	o.primary.Kill()
	time.Sleep(pause)
	err := o.standby.Promote(t.Context())
	o.freePort = o.primary.Port()
	o.primary, o.standby = o.standby, nil
	return err
}
