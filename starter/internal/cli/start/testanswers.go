package start

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/mailing"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

// testMessage is a message of a test, and what became of it.
type testMessage struct {
	To        string        `json:"to"`
	As        string        `json:"as"` // as the command was given it
	Outcome   ledger.Status `json:"outcome"`
	DropPoint string        `json:"drop_point"`
	Code      int16         `json:"code"`
	Enhanced  string        `json:"enhanced_code"`
	Reply     string        `json:"reply"`
}

// testAnswer is the answer of `starter test`.
type testAnswer struct {
	Test     string          `json:"test"`
	State    workflows.State `json:"state"`
	Messages []testMessage   `json:"messages"`
}

var testTable = output.Table[testMessage]{
	{Title: "to", Cell: func(m testMessage) string { return output.Clean(m.To) }, Wrap: 20},
	{Title: "as", Cell: func(m testMessage) string { return output.Clean(m.As) }, Wrap: 10},
	{Title: "outcome", Cell: func(m testMessage) string { return m.words() }},
	{Title: "drop point", Cell: func(m testMessage) string { return m.DropPoint }},
	{Title: "answer", Cell: testMessage.answer, Wrap: 30},
}

var testRecord = output.Record[testAnswer]{
	Fields: func(a testAnswer) []output.Field { return []output.Field{{Name: "Test", Text: a.Test}} },
	Rest:   func(w io.Writer, a testAnswer) { testTable.Render(w, a.Messages) },
}

// words says what became of the message.
func (m testMessage) words() string {
	switch m.Outcome {
	case ledger.Sent:
		return "accepted"
	case ledger.OptedOut:
		return "not sent: the address has opted out"
	}
	return strings.ReplaceAll(string(m.Outcome), "_", " ")
}

// answer is what the drop point said, or the reason without one.
func (m testMessage) answer() string {
	var words []string
	if m.Code > 0 {
		words = append(words, strconv.Itoa(int(m.Code)))
	}
	for _, each := range []string{m.Enhanced, m.Reply} {
		if each != "" {
			words = append(words, output.Clean(each))
		}
	}
	return strings.Join(words, " ")
}

// awaitTest waits until the test has ended, and writes the answers. The error tells that a message
// was not accepted.
func (a *app) awaitTest(
	ctx context.Context, s *command.Store, id string, messages []testMessage, format *output.Format,
) error {
	display := status.NewDisplay(a.Err)
	v, err := s.Status.Follow(ctx, command.TryDial, id, display)
	display.End(v)
	switch {
	case ctx.Err() != nil:
		return interrupted(id)
	case err != nil:
		return err
	}
	if err := s.Recipients.DropTest(ctx, id); err != nil { // a test that was refused has not taken them
		return err
	}
	answer := testAnswer{Test: id, State: v.State, Messages: messages}
	if err := readAnswers(ctx, s, answer); err != nil {
		return err
	}
	if err := testRecord.Write(a.Out, format, answer); err != nil {
		return err
	}
	if v.State != workflows.StateCompleted {
		return mailing.EndError(v)
	}
	return notAccepted(messages)
}

// readAnswers fills in what became of the messages. A test that was refused as a whole has none.
func readAnswers(ctx context.Context, s *command.Store, answer testAnswer) error {
	for i := range answer.Messages {
		answer.Messages[i].Outcome = ledger.Unsent
	}
	m, err := s.Mailings.Get(ctx, answer.Test)
	if errors.Is(err, mailings.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// Recipients who have opted out come last, but those of one address are in their order.
	done := map[*testMessage]bool{}
	return s.Ledger.Report(ctx, m.Key, nil, func(l ledger.Line) error {
		for i := range answer.Messages {
			if of := &answer.Messages[i]; of.To == l.Address && !done[of] {
				done[of] = true
				of.Outcome, of.DropPoint, of.Code = l.Outcome, l.DropPoint, l.Code
				of.Enhanced, of.Reply = l.Enhanced, l.Reply
				break
			}
		}
		return nil
	})
}

func notAccepted(messages []testMessage) error {
	accepted := 0
	for _, m := range messages {
		if m.Outcome == ledger.Sent {
			accepted++
		}
	}
	switch missed := len(messages) - accepted; {
	case missed == 0:
		return nil
	case accepted == 0:
		return exit.Errorf(exit.NobodySent, "no message of the test was accepted")
	default:
		return exit.Errorf(exit.SomeNotSent, "%s of the test not accepted", output.Count(missed, "message"))
	}
}
