package process_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"directmailer/internal/config"
	"directmailer/worker/process"
)

func TestTheLogWritesDurationsForPeopleInBothFormats(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"json": `"next_attempt_in":"250ms"`, "text": `next_attempt_in=250ms`} {
		var b bytes.Buffer
		process.NewLogger(&b, config.Worker{LogFormat: format}).Info("x", "next_attempt_in", 250*time.Millisecond)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s", format, b.String())
		}
	}
}

func TestAHealthAddressThatCannotBeServedIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for address, want := range map[string]string{"nonsense": "missing port in address",
		taken.Addr().String(): "address already in use"} {
		c := config.Worker{HealthAddress: address, LogFormat: "text"}
		err := process.Run(t.Context(), c, process.NewLogger(&bytes.Buffer{}, c))
		if want := "serve health checks at " + address + " (DM_HEALTH_ADDRESS): " + want; err == nil ||
			err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
