package start

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/field"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/content/render"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/sample"
	"directmailer/workflows"
)

// maxTest is how many addresses a test may go to, and the fields of how many recipients it may
// show.
const maxTest = 10

func (a *app) testCommand() *cobra.Command {
	var file string
	var to, as []string
	cmd := &cobra.Command{
		Use:   "test -f FILE --to ADDRESS",
		Short: "Send a test of a mailing to your own addresses",
		Long: `Sends messages of the mailing to the addresses of --to, and to nobody else. A worker renders
them and hands them to the drop points, as it does with the mailing. The subject begins with
[Test].

Each address gets a message for each --as: with the fields of that recipient of the mailing. --as
is an address, or a number: 1 is the first recipient, which is the default. Links to unsubscribe
unsubscribe nobody.

A test counts nowhere. It is no mailing of ` + "`starter ls`" + `, it suppresses no address, and its ID is
its own. Workers take it before mailings. It obeys the rate limits of drop points and domains.
An address that has opted out gets no test.

The list file is not imported. The command waits for the answers of the drop points and prints
them. If it is interrupted, the test goes on.

The exit code is 0 when every message was accepted, 9 when none was, 10 when some were not, and
8 when the test could not be sent.`,
		Example: `  starter test -f newsletter.yaml --to me@example.com

  # what two recipients would get, at two addresses of yours
  starter test -f newsletter.yaml --to me@example.com,me@example.net --as ann@example.org --as 17`,
		Args: command.Needs(),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "mailing file (required)")
	cmd.Flags().StringSliceVar(&to, "to", nil, "addresses that get the test, up to 10 (required)")
	cmd.Flags().StringSliceVar(&as, "as", nil,
		"addresses or numbers of recipients whose fields are used, up to 10 (default: the first)")
	format := output.AddFormat(cmd, "table", "json")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		addresses, err := testAddresses(to)
		if err != nil {
			return err
		}
		if len(as) > maxTest {
			return exit.Usagef("--as names %d recipients: name up to %d", len(as), maxTest)
		}
		if len(as) == 0 {
			as = []string{"1"}
		}
		return a.test(cmd.Context(), file, addresses, as, format)
	}
	return cmd
}

// testAddresses reads the values of --to. It leaves out an address that is there before.
func testAddresses(values []string) (all []address.Address, err error) {
	known := map[string]bool{}
	for _, value := range values {
		to, err := address.Read(value)
		if err != nil {
			return nil, exit.Usagef("--to: the address %w", err)
		}
		if !known[to.Key()] {
			known[to.Key()] = true
			all = append(all, to)
		}
	}
	switch {
	case len(all) == 0:
		return nil, exit.Usagef("--to is missing: give the address that gets the test")
	case len(all) > maxTest:
		return nil, exit.Usagef("--to names %d addresses: name up to %d", len(all), maxTest)
	}
	return all, nil
}

// test sends a test and writes what became of its messages.
func (a *app) test(ctx context.Context, file string, to []address.Address, as []string, format *output.Format) error {
	p, err := a.readMailing(ctx, file, "")
	if err != nil {
		return err
	}
	if err := p.undecided(); err != nil { // a test goes to nobody of the list
		a.Say("warning: %s", output.OneLine(err.Error()))
		p.list.Decide(csvlist.IgnoreStatus)
	}
	p.in = testInput(p.in)
	s, err := command.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	var messages []testMessage
	var stored []recipients.TestRecipient
	for _, who := range as {
		member, err := a.testMember(ctx, s, p, who)
		if err != nil {
			return err
		}
		attributes, err := json.Marshal(withEmail(member))
		if err != nil {
			return err
		}
		for _, each := range to {
			stored = append(stored, recipients.TestRecipient{Address: each, Attributes: attributes})
			messages = append(messages, testMessage{To: each.String(), As: who})
		}
	}
	if err := a.startTest(ctx, s, p, stored); err != nil {
		return err
	}
	return a.awaitTest(ctx, s, p.in.ID, messages, format)
}

// testInput returns the input of a test of a mailing: it waits for nothing that is not needed to
// send, and changes no rate limit.
func testInput(in workflows.Input) workflows.Input {
	few := workflows.Retry{Attempts: 3, Interval: workflows.Duration(2 * time.Second)}
	second := workflows.Duration(time.Second)
	in.Test = true
	in.IgnoreOptOuts, in.LegallyRequired = nil, false // a test is not what the law demands
	// An ID has no two marks side by side.
	stem := strings.TrimRight(in.ID[:min(len(in.ID), 60)], "._-")
	in.ID = "test-" + stem + "-" + strings.ToLower(rand.Text()[:6])
	in.Rates, in.NotBefore, in.NotAfter, in.MaxErrorPercent = workflows.Rates{}, time.Time{}, time.Time{}, 0
	in.Retry = workflows.Retries{List: few, Database: few, Page: few, DropPoint: few}
	in.Deferral = workflows.Deferral{First: second, Most: second, For: second}
	in.OnUncertain, in.OnExhausted = workflows.Hold, workflows.Fail
	return in
}

// withEmail returns the fields of a member, with the address among them.
func withEmail(member render.Recipient) field.Values {
	fields := field.Values{}
	maps.Copy(fields, member.Attributes)
	fields[recipients.TestEmail] = field.Value{Text: member.Address}
	return fields
}

// testMember returns the recipient of the mailing that has an address or a number.
func (a *app) testMember(
	ctx context.Context, s *command.Store, p plan, who string,
) (found render.Recipient, err error) {
	number, err := strconv.Atoi(who)
	if err != nil {
		return a.recipient(ctx, p, who)
	}
	if number < 1 || number > sample.MaxMembers {
		return found, exit.Usagef("--as: %d is no number of a recipient: give 1 to %s, or an address",
			number, output.Thousands(sample.MaxMembers))
	}
	if number == 1 {
		return a.recipient(ctx, p, "")
	}
	count := 0
	err = a.readSample(ctx, s, p, func(m sample.Member) error {
		if count++; count == number {
			found = m.Recipient
			return errEnough
		}
		return nil
	})
	if err == nil {
		err = exit.Errorf(exit.NotFound, "--as: there is no recipient %d: the mailing has %s", number,
			output.Count(count, "recipient"))
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// startTest stores the recipients and starts the workflow.
func (a *app) startTest(ctx context.Context, s *command.Store, p plan, to []recipients.TestRecipient) error {
	conf, err := command.Settings()
	if err != nil {
		return err
	}
	c, err := command.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := s.Recipients.StoreTest(ctx, p.in.ID, to); err != nil {
		return err
	}
	if err := startWorkflow(ctx, s, c, conf.TaskQueue, p); err != nil {
		// With these two codes it may have come through.
		if code := command.CodeOf(err); code != exit.NoTemporal && code != exit.Interrupted {
			err = command.FirstError(err, func() error { return s.Recipients.DropTest(ctx, p.in.ID) })
		}
		return err
	}
	a.warnOfNoWorker(ctx)
	return nil
}

// interrupted says that the test goes on.
func interrupted(id string) error {
	return exit.Errorf(exit.Interrupted,
		"stopped waiting, and the test goes on: `starter report %s` shows the answers", id)
}
