package cli

import (
	"strings"
	"testing"

	"directmailer/internal/database"
)

func TestTheCheckSaysWhatTheSettingsOfTheDatabaseMean(t *testing.T) {
	t.Parallel()
	none, one := 0, 1
	good := database.Inspection{Isolation: "read committed", SynchronousCommit: "on", Fsync: "on", FullPageWrites: "on",
		StatementTimeout: "0", MaxConnections: 100, Reserved: 3, RoleLimit: -1, DatabaseLimit: -1, Synchronous: &none}
	for name, c := range map[string]struct {
		change              func(*database.Inspection)
		workers             int
		settings, available string // what the warnings contain; empty: there is none
	}{
		"good":            {workers: 2},
		"nobody is asked": {},
		"no fsync": {change: func(i *database.Inspection) {
			i.Fsync = "off"
		}, settings: "fsync is off"},
		"torn pages": {change: func(i *database.Inspection) {
			i.FullPageWrites = "off"
		}, settings: "full_page_writes is off"},
		"a standby": {change: func(i *database.Inspection) {
			i.InRecovery = true
		}, settings: "is a standby"},
		"asynchronous": {change: func(i *database.Inspection) {
			i.Standbys = 1
		}, settings: "no standby is synchronous"},
		"synchronous": {change: func(i *database.Inspection) {
			i.Standbys, i.StandbyNames, i.Synchronous = 1, "*", &one
		}},
		"nobody to wait": {change: func(i *database.Inspection) {
			i.StandbyNames = "*"
		}, settings: "commits wait for one"},
		"not to be seen": {change: func(i *database.Inspection) {
			i.Standbys, i.StandbyNames, i.Synchronous = 1, "*", nil
		}},
		"too many workers": {workers: 3, available: "raise max_connections"},
		"a limited role": {change: func(i *database.Inspection) {
			i.RoleLimit = 30
		}, workers: 1, available: "CONNECTION LIMIT"},
		"a limited database": {change: func(i *database.Inspection) {
			i.DatabaseLimit = 71
		}, workers: 2,
			available: "CONNECTION LIMIT"},
		"a pooler": {change: func(i *database.Inspection) {
			i.Pooler, i.RoleLimit = true, 20
		}, workers: 9},
		"a pooler and a time-out": {change: func(i *database.Inspection) {
			i.Pooler, i.StatementTimeout = true, "5s"
		},
			settings: "statement_timeout"},
	} {
		i := good
		if c.change != nil {
			c.change(&i)
		}
		found := settingsFindings(i, c.workers)
		for n, want := range []string{c.settings, c.available} {
			if got := found[n]; (got.Result == warning) != (want != "") || !strings.Contains(got.Detail, want) {
				t.Errorf("%s: %+v, want %q", name, got, want)
			}
		}
	}
	found := settingsFindings(good, 2)
	for n, want := range []string{"each transaction sets its own isolation (default: read committed)",
		"2 workers may open 76, 38 each"} {
		if !strings.Contains(found[n].Detail, want) {
			t.Errorf("%q is not in %s", want, found[n].Detail)
		}
	}
}
