package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"directmailer/internal/config"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback/token/tokentest"
	"directmailer/worker/process"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

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

// lines is a log whose lines are sent to a channel.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default: // the test has read what it wants
	}
	return len(p), nil
}

// People leave while Temporal is away, also after a restart of their worker.
func TestThePagesAreServedWhileTemporalDoesNotAnswer(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1") // nothing listens there
	c := config.Worker{
		DatabaseURL: servertest.Database(t), MaxBatches: 1, TaskQueue: "direct-mailer", PublicAddress: "127.0.0.1:0",
		PublicURL: "https://mail.example.com", TokenKeys: config.TokenKeys(tokentest.Keys(t, "k")),
	}
	log, ended := make(lines, 100), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { ended <- process.Run(ctx, c, slog.New(slog.NewJSONHandler(log, nil))) }()
	var line struct{ Msg, Address string }
	for line.Msg != "serving the unsubscribe pages" {
		select {
		case text := <-log:
			if err := json.Unmarshal([]byte(text), &line); err != nil || line.Msg == "waiting for Temporal" {
				t.Fatalf("before the pages are served: %s", text)
			}
		case err := <-ended:
			t.Fatal(err)
		}
	}
	response, err := http.Get("http://" + line.Address + "/u/x")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d", response.StatusCode)
	}
	stop()
	<-ended
}
