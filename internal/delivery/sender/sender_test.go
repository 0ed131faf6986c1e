package sender_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
)

func TestAServerThatBreaksAfterEachDotIsGivenUpAfterOneRecipientAConnection(t *testing.T) {
	t.Parallel()
	for hold, want := range map[bool]map[string]int{true: {"uncertain, final": 2}, false: {"uncertain": 2}} {
		t.Run(fmt.Sprintf("hold=%v", hold), func(t *testing.T) {
			t.Parallel()
			found, _, failure := sendAndCount(t, hold, func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "DOT" {
					return &smtptest.Action{Die: true, Accept: true}
				}
				return nil
			}, droppoint.Message{})
			var unavailable *sender.UnavailableError
			if !errors.As(failure, &unavailable) || !maps.Equal(found, want) {
				t.Errorf("got %v and %v, want %v", found, failure, want)
			}
		})
	}
}

func TestAServerThatRefusesTheSenderAtRecipientsBouncesNobody(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"550 5.1.8 no",
		"550 5.1.7 no", "550 5.7.1 no", "550 relay not permitted",
		"553 Relaying disallowed as a@example.com", "550 Sender verify failed"} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			found, _, failure := sendAndCount(t, false, refusing(reply), droppoint.Message{})
			var refused *sender.RefusedError
			if !errors.As(failure, &refused) || len(found) != 1 || found["not_sent"] == 0 ||
				found["not_sent"] == recipients {
				t.Errorf("got %v and %v", found, failure)
			}
		})
	}
}

func TestAMessageThatWeRefuseSaysNothingOfTheServer(t *testing.T) {
	t.Parallel()
	found, report, failure := sendAndCount(t, false, refusing("550 5.7.1 relaying denied"),
		droppoint.Message{To: "ü@example.com", UTF8: true})
	var refused *sender.RefusedError
	if !errors.As(failure, &refused) || found["bounced, final"] != 1 || found["refused"] > 0 ||
		report.DropPoints[0].Answered != 0 {
		t.Errorf("got %v, %+v and %v", found, report, failure)
	}
}

// Only refusals of us count to the mailing's error limit. A server that is unavailable does not
// count.
func TestARefusalBeforeAnyMessageIsCountedAndAnOutageIsNot(t *testing.T) {
	t.Parallel()
	for greeting, want := range map[string]int{"554 5.7.1 you are listed": 1, "421 4.3.2 come back later": 0} {
		t.Run(greeting, func(t *testing.T) {
			t.Parallel()
			found, report, failure := sendAndCount(t, false, func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "connect" {
					return &smtptest.Action{Reply: greeting}
				}
				return nil
			}, droppoint.Message{})
			if failure == nil || len(found) > 0 || report.Refused != want {
				t.Errorf("got %v, %+v and %v, want %d counted", found, report, failure, want)
			}
		})
	}
}

// The first batch needs the only connection for three seconds. The second batch gets it after one
// second, also if each dot is sent with the next envelope.
func TestBatchesShareAConnection(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("next_behind_dot=%v", behind), func(t *testing.T) {
			t.Parallel()
			hasWaiter := make(chan struct{}) // the second batch waits for the connection
			r := newRig(t, fmt.Sprintf("connections=1&next_behind_dot=%v", behind),
				func(e smtptest.Event) *smtptest.Action {
					if e.Phase != "DOT" {
						return nil
					}
					answer := make(chan struct{})
					go func() {
						<-hasWaiter
						time.AfterFunc(30*time.Millisecond, func() { close(answer) })
					}()
					return &smtptest.Action{Wait: answer}
				})
			done := make(chan int, 2)
			for i := range 2 {
				claim := r.claim(fmt.Sprint("m", i), false)
				go func() {
					if report, err := r.send(claim, false,
						droppoint.Message{To: fmt.Sprintf("first%d@example.com", i)}); err != nil || !report.Complete {
						t.Errorf("batch %d: %+v, %v", i, r, err)
					}
					done <- len(r.server.Received())
				}()
			}
			for !r.dropPoint.HasWaiters() {
				time.Sleep(time.Millisecond)
			}
			close(hasWaiter)
			if ended := <-done; ended == recipients {
				t.Error("one batch had the connection to its end")
			}
			<-done
		})
	}
}
